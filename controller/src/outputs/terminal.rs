//! Text for people: notices, and the table as rows or redrawn in place.

use std::io::{self, Write};

use super::Output;
use crate::telemetry::{Interest, Message, Notice, RuleRow, Table};

/// Columns of a rule's name where rows are printed without a table.
const NAME_WIDTH: usize = 32;

/// Writes notices as text, and the counters in the form that suits the reader.
#[derive(Debug)]
pub(super) struct Terminal<W> {
    name: &'static str,
    to: W,
    form: Form,
    last: Option<Table>,
}

#[derive(Debug)]
enum Form {
    /// Each interval, the rows that changed.
    Rows,
    /// A table that is redrawn in place; `lines` of it are above the cursor.
    Redrawn { lines: usize },
}

impl<W: Write> Terminal<W> {
    /// Redraws the table in place.
    pub(super) fn redrawn(name: &'static str, to: W) -> Self {
        Self { name, to, form: Form::Redrawn { lines: 0 }, last: None }
    }

    /// Prints rows that changed.
    pub(super) fn rows(name: &'static str, to: W) -> Self {
        Self { name, to, form: Form::Rows, last: None }
    }

    fn notice(&mut self, notice: &Notice) -> String {
        let text = notice.to_string();
        match &mut self.form {
            Form::Rows => format!("{text}\n"),
            Form::Redrawn { lines } => {
                let cleared = clear(std::mem::take(lines));
                // The table was cleared away: draw it again below the notice.
                let table = self.last.take().map_or_else(String::new, |table| self.table(&table));
                format!("{cleared}{text}\n{table}")
            }
        }
    }

    fn table(&mut self, table: &Table) -> String {
        let text = match &mut self.form {
            Form::Rows => {
                let changed = table.changed_since(self.last.as_ref());
                changed.into_iter().map(|row: &RuleRow| format!("{}\n", row.line(NAME_WIDTH))).collect()
            }
            Form::Redrawn { lines } => {
                let (width, height) = size();
                // The last line of the screen holds the cursor.
                let drawn = table.render(width, height.saturating_sub(1));
                let cleared = clear(*lines);
                *lines = drawn.lines().count();
                cleared + &drawn
            }
        };
        self.last = Some(table.clone());
        text
    }
}

impl<W: Write + Send> Output for Terminal<W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn interest(&self) -> Interest {
        Interest::Notices
    }

    fn write(&mut self, message: &Message) {
        let text = match message {
            Message::Notice(notice) => {
                if let Notice::Table(table) = notice.as_ref() {
                    self.table(table)
                } else {
                    self.notice(notice)
                }
            }
            Message::Packet(event) => event.line() + "\n",
        };
        // A reader that goes away ends nothing: the filter matters more.
        let _ = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
    }
}

/// Moves up `lines` lines and erases to the end of the screen (ECMA-48 CPL and ED).
fn clear(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}F\x1b[J") }
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::RuleMode;

    fn table(packets: u64) -> Message {
        Notice::Table(Table {
            seconds: 1.0,
            report: false,
            rules: vec![RuleRow {
                rule: "scanners".to_owned(),
                mode: RuleMode::Enforce,
                action: "drop".to_owned(),
                packets,
                bytes: 0,
                rate: None,
                spared: 0,
                reported: 0,
                reported_bytes: 0,
            }],
            reasons: [].into_iter().collect(),
            passed: 0,
            dropped: packets,
            would_drop: 0,
            events_lost: 0,
            events_suppressed: 0,
            bans: 0,
        })
        .into()
    }

    fn written(output: &mut Terminal<Vec<u8>>, message: &Message) -> String {
        output.write(message);
        String::from_utf8(std::mem::take(&mut output.to)).unwrap()
    }

    #[test]
    fn rows_are_printed_when_they_change() {
        let mut output = Terminal::rows("test", Vec::new());
        assert_eq!(written(&mut output, &table(0)), "");
        assert!(written(&mut output, &table(2)).starts_with("scanners "));
        assert_eq!(written(&mut output, &table(2)), "");
        assert_eq!(written(&mut output, &Notice::Error { message: "x".to_owned() }.into()), "x\n");
    }

    #[test]
    fn a_notice_is_put_above_the_redrawn_table() {
        let mut output = Terminal::redrawn("test", Vec::new());
        let drawn = written(&mut output, &table(1));
        let lines = drawn.lines().count();
        assert_eq!(written(&mut output, &table(1)), format!("\x1b[{lines}F\x1b[J{drawn}"));
        let notice = Notice::Error { message: "x".to_owned() }.into();
        assert_eq!(written(&mut output, &notice), format!("\x1b[{lines}F\x1b[Jx\n{drawn}"));
        assert_eq!(written(&mut output, &table(1)), format!("\x1b[{lines}F\x1b[J{drawn}"));
    }
}
