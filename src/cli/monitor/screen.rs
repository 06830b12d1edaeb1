//! Draws the picture of `monitor`.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{self, Paragraph, TableState},
};

use super::picture::{Picture, Row, Table};

/// Rows below the table for the newest events, heading included, where there is room.
const EVENTS: u16 = 7;
/// Rows that the table keeps in any case.
const TABLE: u16 = 6;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, picture: &Picture) {
    let is_room = frame.area().height >= TABLE + EVENTS + 3 && picture.table != Table::Events;
    let [head, tabs, table, events, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(if is_room { EVENTS } else { 0 }),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let headline = picture.headline();
    frame.render_widget(Paragraph::new(headline.cells.join(" ")).style(style(&headline)), head);
    frame.render_widget(Paragraph::new(names(picture)), tabs);
    draw_table(frame, picture, picture.table, Some(picture.chosen), table);
    draw_table(frame, picture, Table::Events, None, events);
    frame.render_widget(Paragraph::new(foot(picture)), help);
}

fn names(picture: &Picture) -> Line<'static> {
    let name = |(number, table): (usize, Table)| {
        let name = format!(" {number} {} ", table.name());
        let is_shown = table == picture.table;
        Span::styled(
            name,
            if is_shown { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() },
        )
    };
    (1..).zip(Table::ALL).map(name).collect()
}

fn foot(picture: &Picture) -> String {
    if picture.is_writing {
        return format!("/{}_   Enter keeps the filter, Esc clears it", picture.filter);
    }
    if !picture.note.is_empty() {
        return picture.note.clone();
    }
    let filter =
        if picture.filter.is_empty() { String::new() } else { format!("   filter: {}", picture.filter) };
    format!("q ends  Tab, 1-4 table  up, down row  / filter  i identify{filter}")
}

fn draw_table(frame: &mut Frame<'_>, picture: &Picture, table: Table, chosen: Option<usize>, area: Rect) {
    if area.height == 0 {
        return;
    }
    let rows = picture.rows(table);
    let columns = table.columns();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(column)).map(|cell| cell.chars().count());
        let widest = cells.chain([columns[column].len()]).max().unwrap_or_default();
        Constraint::Length(u16::try_from(widest).unwrap_or(u16::MAX))
    };
    // The last one takes what is left.
    let last = columns.len() - 1;
    let widths: Vec<Constraint> = (0..last).map(width).chain([Constraint::Min(0)]).collect();
    let header =
        widgets::Row::new(columns.iter().copied()).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let shown = rows.iter().map(|row| widgets::Row::new(row.cells.clone()).style(style(row)));
    let drawn = widgets::Table::new(shown, widths)
        .header(header)
        .column_spacing(2)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(chosen.filter(|_| !rows.is_empty()));
    frame.render_stateful_widget(drawn, area, &mut state);
}

fn style(row: &Row) -> Style {
    match row.is_well {
        Some(true) => Style::new().fg(Color::Green),
        Some(false) => Style::new().fg(Color::Red),
        None => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{super::picture::Key, *};
    use crate::cli::monitor::picture::tests::told;

    fn shown(picture: &Picture, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, picture)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_terminal_of_80_by_24_shows_table_events_and_keys() {
        insta::assert_snapshot!(shown(&told(), 80, 18));
    }

    #[test]
    fn the_smallest_terminal_breaks_nothing() {
        let mut picture = told();
        for table in ['1', '2', '3', '4'] {
            picture.press(Key::Char(table));
            for (width, height) in [(1, 1), (5, 3), (20, 4), (300, 100)] {
                shown(&picture, width, height);
            }
        }
        assert!(shown(&picture, 80, 10).contains("intercom.key.swiped"));
    }
}
