//! Figures that were to be reached, and whether they were.

use super::figures::Table;

/// Collects what was reached.
#[derive(Default)]
pub struct Verdicts {
    rows: Vec<Vec<String>>,
}

impl Verdicts {
    /// A figure that may be so high.
    pub fn at_most(&mut self, what: String, figure: f64, most: f64, unit: &str) {
        self.judge(what, figure <= most, format!("{figure:.2} {unit}"), format!("≤ {most:.2} {unit}"));
    }

    /// A figure that has to be so high.
    pub fn at_least(&mut self, what: String, figure: f64, least: f64, unit: &str) {
        self.judge(what, figure >= least, format!("{figure:.2} {unit}"), format!("≥ {least:.2} {unit}"));
    }

    /// A figure that is a share, 0 to 1, and has to be so high.
    pub fn share(&mut self, what: String, share: f64, least: f64) {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        self.judge(what, share >= least, percent(share), format!("≥ {}", percent(least)));
    }

    /// Prints all.
    pub fn print(&self) {
        let mut table = Table::new(&["figure", "reached", "to reach", ""]);
        self.rows.iter().for_each(|row| table.row(row.clone()));
        println!("Figures to reach:\n");
        table.print();
    }

    fn judge(&mut self, what: String, reached: bool, figure: String, goal: String) {
        let verdict = if reached { "yes" } else { "**no**" };
        self.rows.push(vec![what, figure, goal, verdict.to_owned()]);
    }
}
