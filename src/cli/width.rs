//! Fitting text to the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

pub(super) use crate::overview::short;

/// Where nobody says otherwise: what a phone held sideways shows.
const NARROW: u16 = 80;
/// Longer lines are hard to follow with the eye.
const WIDE: u16 = 120;

/// The columns to fill: the terminal's, or 80 in a pipe.
pub(super) fn columns() -> usize {
    // Some terminals say 0 for what they do not know.
    let told = Table::new().width().filter(|columns| *columns > 0);
    usize::from(told.unwrap_or(NARROW).clamp(40, WIDE))
}

/// A table without lines, two blanks between columns, coloured (whoever writes it strips that where needed).
pub(super) fn table(columns: usize) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).enforce_styling();
    // Coloured padding would hide the blanks at the ends of lines from whoever removes them.
    table.style_text_only();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(columns).unwrap_or(u16::MAX));
    table
}

/// The table as text, without blanks at the ends of its lines.
pub(super) fn rendered(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Cuts a text that is too long and says so with `…`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}
