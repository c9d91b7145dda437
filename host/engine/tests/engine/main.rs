//! The engine against real components, most of them hostile.

mod contract;
mod loading;
mod policies;
mod providers;
mod support;
mod swapping;
