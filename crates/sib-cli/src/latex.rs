//! LaTeX tables in the style of booktabs.

use std::fmt::Write;

/// A table that stands for itself.
#[derive(Debug, Default)]
pub struct Table {
    /// What it shows, plain text.
    pub caption: String,
    /// Headings over several columns each, `(heading, columns)` behind the first column; none for no such line.
    pub spans: Vec<(String, usize)>,
    /// Headings of the columns behind the first one, which has none.
    pub columns: Vec<String>,
    /// Heading and cells of each row.
    pub rows: Vec<(String, Vec<Cell>)>,
}

/// Plain text in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What stands there.
    pub text: String,
    /// Whether it stands out.
    pub is_bold: bool,
}

impl Table {
    /// A float with a caption above the table.
    pub fn to_latex(&self) -> String {
        let mut text = String::from("\\begin{table}\n\\centering\n");
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line(format!("\\caption{{{}}}", escape(&self.caption)));
        line(format!("\\begin{{tabular}}{{l{}}}", "r".repeat(self.columns.len())));
        line("\\toprule".to_owned());
        if !self.spans.is_empty() {
            let mut from = 2;
            let (mut headings, mut rules) = (String::new(), Vec::new());
            for (heading, columns) in &self.spans {
                // Writing to a string cannot fail.
                let _ =
                    write!(headings, " & \\multicolumn{{{columns}}}{{c}}{{{}}}", escape(heading));
                rules.push(format!("\\cmidrule(lr){{{from}-{}}}", from + columns - 1));
                from += columns;
            }
            line(format!("{headings} \\\\"));
            line(rules.join(" "));
        }
        let columns: Vec<String> = self.columns.iter().map(|column| escape(column)).collect();
        line(format!(" & {} \\\\", columns.join(" & ")));
        line("\\midrule".to_owned());
        for (title, cells) in &self.rows {
            let cells: Vec<String> = cells.iter().map(Cell::to_latex).collect();
            line(format!("{} & {} \\\\", escape(title), cells.join(" & ")));
        }
        for end in ["\\bottomrule", "\\end{tabular}", "\\end{table}"] {
            line(end.to_owned());
        }
        text
    }
}

impl Cell {
    fn to_latex(&self) -> String {
        let text = escape(&self.text);
        if self.is_bold { format!("\\textbf{{{text}}}") } else { text }
    }
}

/// Plain text as LaTeX shows it.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', letter]),
            '\\' => escaped.push_str("\\textbackslash{}"),
            // Behind the end of a line they would be its arguments.
            '[' | ']' | '*' => escaped.extend(['{', letter, '}']),
            letter if letter.is_control() => escaped.push(' '),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' => escaped.push_str("$<$"),
            '>' => escaped.push_str("$>$"),
            '±' => escaped.push_str("$\\pm$"),
            '−' => escaped.push_str("$-$"),
            '×' => escaped.push_str("$\\times$"),
            '→' => escaped.push_str("$\\to$"),
            '↑' => escaped.push_str("$\\uparrow$"),
            '↓' => escaped.push_str("$\\downarrow$"),
            'Δ' => escaped.push_str("$\\Delta$"),
            '–' => escaped.push_str("--"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The tables of a file, behind what it needs.
pub fn document(tables: impl IntoIterator<Item = Table>) -> String {
    let mut text = String::from("% \\usepackage{booktabs}\n");
    for table in tables {
        text.push('\n');
        text.push_str(&table.to_latex());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_what_booktabs_takes() {
        let cell = |text: &str, is_bold| Cell { text: text.to_owned(), is_bold };
        let table = Table {
            caption: "100 % of vit_b_32, − 2 ± 1\n\n[a]".to_owned(),
            spans: vec![("a & b".to_owned(), 2)],
            columns: vec!["Baseline".to_owned(), "S-IB ↑".to_owned()],
            rows: vec![("row {1}".to_owned(), vec![cell("1.0", false), cell("2.0", true)])],
        };
        assert_eq!(
            document([table]),
            r"% \usepackage{booktabs}

\begin{table}
\centering
\caption{100 \% of vit\_b\_32, $-$ 2 $\pm$ 1  {[}a{]}}
\begin{tabular}{lrr}
\toprule
 & \multicolumn{2}{c}{a \& b} \\
\cmidrule(lr){2-3}
 & Baseline & S-IB $\uparrow$ \\
\midrule
row \{1\} & 1.0 & \textbf{2.0} \\
\bottomrule
\end{tabular}
\end{table}
"
        );
    }
}
