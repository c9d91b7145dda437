//! Finds what a command needs: the fleet file, and a way to the running host.
