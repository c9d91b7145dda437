//! Between the contract's generated types and the kernel's plain ones, field by field.
//!
//! Knows no rule: what is well-typed passes. Lists that go to a policy are lent, not copied (`situation`).

pub(crate) mod decision;
pub(crate) mod observe;
pub(crate) mod providers;
pub(crate) mod requests;
pub(crate) mod situation;

/// The same enum on both sides: one line per enum instead of two matches.
macro_rules! same_enum {
    ($plain:path, $generated:path, { $($case:ident),* $(,)? }) => {
        impl From<$plain> for $generated {
            fn from(value: $plain) -> Self {
                type Plain = $plain;
                match value { $(Plain::$case => Self::$case),* }
            }
        }

        impl From<$generated> for $plain {
            fn from(value: $generated) -> Self {
                type Generated = $generated;
                match value { $(Generated::$case => Self::$case),* }
            }
        }
    };
}

/// The same record on both sides, where its fields need nothing but `into`.
macro_rules! same_record {
    ($from:path => $into:path, { $($field:ident),* $(,)? }) => {
        impl From<$from> for $into {
            fn from(value: $from) -> Self {
                Self { $($field: value.$field.into()),* }
            }
        }
    };
}

pub(crate) use {same_enum, same_record};

/// A list whose items need nothing but `into`.
pub(crate) fn list<A: Into<B>, B>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(Into::into).collect()
}
