//! Fitting text to the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table};

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

/// What the last column of a table should have to wrap in.
const ROOM: usize = 12;

/// A table of which the last column alone may wrap: the others hold names, which are copied into other commands. Where
/// they leave it no room, each row is a few lines of its own.
pub(super) fn fitted(columns: usize, header: &[&str], rows: &[Vec<Cell>]) -> String {
    let widest = |index: usize| {
        let cells =
            rows.iter().flat_map(|row| row[index].content().lines().map(|line| line.chars().count()).max());
        cells.chain([header[index].len()]).max().unwrap_or(0)
    };
    let last = header.len() - 1;
    let names: usize = (0..last).map(|index| widest(index) + 2).sum();
    if names + widest(last).min(ROOM) > columns {
        let blocks: Vec<String> = rows.iter().map(|row| block(columns, header, row)).collect();
        return blocks.join("\n\n");
    }
    let mut table = table(columns);
    table.set_header(header.to_vec());
    table.add_rows(rows.to_vec());
    for column in table.column_iter_mut().take(last) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    rendered(table)
}

fn block(columns: usize, header: &[&str], row: &[Cell]) -> String {
    let mut table = table(columns);
    table.set_content_arrangement(ContentArrangement::Disabled);
    let there = header.iter().zip(row).filter(|(_, cell)| !cell.content().is_empty());
    table.add_rows(there.map(|(name, cell)| vec![Cell::new(name), cell.clone()]));
    rendered(table)
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
