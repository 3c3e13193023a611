//! Where `run` tells what happens: JSON lines, rows, or a table redrawn in place.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::table::{RuleRow, TableEvent};
use filter_policy::language::printable;

/// Standard output, in the form it was asked for. A reader that goes away ends nothing: the filter matters more.
#[derive(Debug)]
pub struct Output {
    form: Form,
    last: Option<TableEvent>,
}

#[derive(Debug)]
enum Form {
    Json,
    /// Rows that changed, each interval.
    Rows,
    /// A table redrawn in place; how many lines of it stand above the cursor.
    Terminal {
        lines: usize,
    },
}

impl Output {
    /// Standard output, as JSON if asked for.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let form = match (json, io::stdout().is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Terminal { lines: 0 },
            (false, false) => Form::Rows,
        };
        Self { form, last: None }
    }

    /// Something that happened: its JSON form and its text, which may have several lines.
    pub fn tell(&mut self, json: &impl Serialize, text: &str) {
        let text = match &mut self.form {
            Form::Json => format!("{}\n", printable::json_line(json)),
            Form::Rows => format!("{}\n", text.trim_end()),
            Form::Terminal { lines } => format!("{}{}\n", clear(std::mem::take(lines)), text.trim_end()),
        };
        write(&text);
        // The table was cleared away: draw it again below the message.
        if let (Form::Terminal { .. }, Some(table)) = (&self.form, self.last.clone()) {
            self.table(table);
        }
    }

    /// The table of this interval.
    pub fn table(&mut self, table: TableEvent) {
        let text = match &mut self.form {
            Form::Json => format!("{}\n", printable::json_line(&table)),
            Form::Rows => {
                let changed = table.changed_since(self.last.as_ref());
                changed.into_iter().map(|row: &RuleRow| format!("{}\n", row.line(32))).collect()
            }
            Form::Terminal { lines } => {
                let (width, height) = size();
                // The last line of the screen holds the cursor.
                let drawn = table.render(width, height.saturating_sub(1));
                let cleared = clear(*lines);
                *lines = drawn.lines().count();
                cleared + &drawn
            }
        };
        self.last = Some(table);
        write(&text);
    }
}

fn write(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Goes up so many lines and erases from there to the end of the screen (ECMA-48 CPL and ED).
fn clear(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}F\x1b[J") }
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}
