//! A plugin's lines in the host's log; the host adds slot, plugin and trace, and cuts floods.
//!
//! Outside a host (native tests) there is no log: the lines go nowhere.

use crate::bindings::tidegate::dr::log::{self, Level};

/// For whoever debugs the plugin.
pub fn debug(text: &str) {
    write(Level::Debug, text);
}

/// Worth knowing, nothing to do.
pub fn info(text: &str) {
    write(Level::Info, text);
}

/// Somebody should look at it one day.
pub fn warn(text: &str) {
    write(Level::Warn, text);
}

/// Somebody should look at it now.
pub fn error(text: &str) {
    write(Level::Error, text);
}

fn write(level: Level, text: &str) {
    if cfg!(target_arch = "wasm32") {
        log::write(level, text);
    }
}
