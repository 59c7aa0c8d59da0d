//! The Compose Specification as tables: every key, what its value may be, how two files' values merge, and
//! which keys are refused. Checking, merging and the published support table all read these.

mod deploy;
mod service;
mod top;

pub(super) use service::{LOGGING, SERVICE};
pub(super) use top::TOP;

/// What a value may be, and so what its canonical form is.
pub(super) enum Shape {
    /// Text. A bare number or boolean is refused: `1.10` would have become `1.1`.
    Text,
    /// Text that is one of a few words.
    OneOf(&'static [&'static str]),
    /// Text, a number or a boolean, kept as text.
    Word,
    Bool,
    Int,
    Float,
    /// A size; canonical is the number of bytes.
    Bytes,
    /// Canonical is the number of nanoseconds.
    Duration,
    /// File permissions; text is octal, a number is itself.
    Mode,
    /// A path, taken from the folder of the project; canonical starts with `./` (in the repository) or `/`.
    Path,
    /// A list of words; `alone`: one word may stand for a list of one. Merging appends what is new.
    Words {
        alone: bool,
    },
    /// Text that is split as a shell would, or a list. Merging replaces.
    Command,
    /// Text for a shell, or a list. Merging replaces.
    Test,
    /// A mapping or a list of `NAME=value`; canonical is the mapping of words, null where there was no value.
    Pairs,
    /// A mapping or a list of `host=address`; canonical is the list.
    Hosts,
    /// A mapping with free names.
    Named(&'static Shape),
    /// A mapping with known keys.
    Object(&'static Object),
    /// A mapping with known keys, or a shorter way to say it.
    Short(Short, &'static Object),
    /// A list of names, or a mapping from names. What a name in a list says beside itself comes second.
    Names(&'static Object, &'static [(&'static str, &'static str)]),
    /// A list of mappings, each told apart by its identity when files merge.
    Many(Short, &'static Object, Identity),
    /// The same, where one element may stand for a list of one.
    OneOrMany(Short, &'static Object, Identity),
    /// A whole number, or a mapping with `soft` and `hard`.
    Ulimit(&'static Object),
}

/// The shorter ways to say a mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    None,
    /// `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, with ranges.
    Port,
    /// `[SOURCE:]TARGET[:MODE]`.
    Mount,
    /// `HOST[:CONTAINER[:PERMISSIONS]]`.
    Device,
    /// Text that stands under this one key.
    Key(&'static str),
    /// `true` or `false`, or the old mapping with the name.
    External,
}

/// Which keys make two elements of a list the same one: the later replaces the earlier.
#[derive(Clone, Copy)]
pub(super) enum Identity {
    /// None are the same.
    All,
    By(&'static [&'static str]),
    /// By everything but the mode; no address is every address.
    Port,
    /// By `target`, or where the `source` lands when there is none.
    Target(&'static str),
}

/// A mapping with known keys.
pub(super) struct Object {
    /// As the support table heads it.
    pub(super) title: &'static str,
    pub(super) keys: &'static [Key],
}

pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) support: Support,
}

pub(super) enum Support {
    /// Read.
    Yes(Shape),
    /// Refused; the text says what to do instead.
    No(&'static str),
    /// Accepted with a warning; the text says why it does nothing here.
    Idle(&'static str),
}

impl Object {
    pub(super) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, support: Support::Yes(shape) }
}

const fn no(name: &'static str, instead: &'static str) -> Key {
    Key { name, support: Support::No(instead) }
}

const fn idle(name: &'static str, why: &'static str) -> Key {
    Key { name, support: Support::Idle(why) }
}
