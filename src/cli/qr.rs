//! QR codes drawn in a terminal, for a phone to scan.

use std::fmt::Write as _;

use anyhow::Context;
use qrcode::{Color, EcLevel, QrCode};

/// Light modules around a code (the quiet zone), without which readers do not find it.
const QUIET: usize = 4;
/// Black on white from the fixed part of the palette, which themes leave alone: in a dark terminal's own colours the code
/// would be inverted.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const USUAL: &str = "\x1b[0m";

/// Draws a QR code, each character two modules, one above the other.
///
/// # Errors
/// The text is too long for a QR code.
pub fn drawn(text: &str) -> anyhow::Result<String> {
    // The lowest level of error correction: a screen has no stains, and the smallest code is the easiest to scan.
    let code =
        QrCode::with_error_correction_level(text, EcLevel::L).context("this is too long for a QR code")?;
    let width = code.width();
    let is_dark = |column: usize, row: usize| {
        let (column, row) = (column.wrapping_sub(QUIET), row.wrapping_sub(QUIET));
        column < width && row < width && code[(column, row)] == Color::Dark
    };
    let side = width + 2 * QUIET;
    let mut drawn = String::new();
    for row in (0..side).step_by(2) {
        drawn.push_str(BLACK_ON_WHITE);
        for column in 0..side {
            drawn.push(match (is_dark(column, row), is_dark(column, row + 1)) {
                (false, false) => ' ',
                (true, false) => '▀',
                (false, true) => '▄',
                (true, true) => '█',
            });
        }
        writeln!(drawn, "{USUAL}")?;
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a drawing as a phone does.
    fn read(drawn: &str) -> String {
        let rows: Vec<Vec<(bool, bool)>> = drawn
            .lines()
            .map(|line| {
                let modules = line.strip_prefix(BLACK_ON_WHITE).unwrap().strip_suffix(USUAL).unwrap();
                let module = |drawn| match drawn {
                    ' ' => (false, false),
                    '▀' => (true, false),
                    '▄' => (false, true),
                    '█' => (true, true),
                    other => panic!("{other:?}"),
                };
                modules.chars().map(module).collect()
            })
            .collect();
        const SIZE: usize = 4;
        let (width, height) = (rows[0].len() * SIZE, rows.len() * 2 * SIZE);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            let (upper, lower) = rows[y / (2 * SIZE)][x / SIZE];
            let is_dark = if (y / SIZE).is_multiple_of(2) { upper } else { lower };
            if is_dark { 0 } else { 255 }
        });
        let found = image.detect_grids();
        assert_eq!(found.len(), 1, "{drawn}");
        found[0].decode().unwrap().1
    }

    #[test]
    fn a_reader_reads_what_was_drawn() {
        let token = format!("igw_{}", "0123456789abcdef".repeat(4));
        let address = format!("https://192.168.100.200:8443/#sha256={}", "AB".repeat(32));
        for text in ["a", &token, &address, "https://[2001:db8::1]:8443/"] {
            assert_eq!(read(&drawn(text).unwrap()), text);
        }
    }

    #[test]
    fn a_code_of_the_longest_address_fits_a_terminal() {
        let address = format!("https://192.168.100.200:65535/#sha256={}", "AB".repeat(32));
        let drawn = drawn(&address).unwrap();
        assert!(drawn.lines().count() <= 24, "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().filter(|c| " ▀▄█".contains(*c)).count() <= 60));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert!(drawn(&"x".repeat(10_000)).is_err());
    }
}
