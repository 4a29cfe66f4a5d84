//! Distributions, and how they are printed.

/// Measured values of one kind.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn of(value: f64) -> Self {
        Self(vec![value])
    }

    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The value below which this part (0 to 1) of all is.
    pub fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((part * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// Prints a table in Markdown: the median of each row with its smallest and largest value.
pub fn print_table(title: &str, unit: &str, rows: &[(String, Sample)]) {
    println!("### {title}\n\n| {unit} | median | least | most |\n| --- | ---: | ---: | ---: |");
    for (name, sample) in rows {
        println!(
            "| {name} | {} | {} | {} |",
            number(sample.quantile(0.5)),
            number(sample.quantile(0.0)),
            number(sample.quantile(1.0))
        );
    }
    println!();
}

/// A number with as many digits as say something.
fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
