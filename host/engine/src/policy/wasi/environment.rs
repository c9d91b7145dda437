//! An empty environment: no variables, no arguments, no files, no terminal; standard output and error go to the log.
//!
//! Streams themselves are `io`'s.

use super::super::host::PolicyHost;
use wasmtime::{Result, bail, component::Resource};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream,
    bindings::{
        cli::{
            environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin,
            terminal_stdout,
        },
        filesystem::{preopens, types::Descriptor},
    },
    pipe::{ClosedInputStream, SinkOutputStream},
};

impl environment::Host for PolicyHost {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(None)
    }
}

impl exit::Host for PolicyHost {
    fn exit(&mut self, status: std::result::Result<(), ()>) -> Result<()> {
        bail!("it left with exit({})", u8::from(status.is_err()))
    }

    fn exit_with_code(&mut self, status_code: u8) -> Result<()> {
        bail!("it left with exit({status_code})")
    }
}

impl stdin::Host for PolicyHost {
    fn get_stdin(&mut self) -> Result<Resource<DynInputStream>> {
        let closed: DynInputStream = Box::new(ClosedInputStream);
        Ok(self.table.push(closed)?)
    }
}

impl stdout::Host for PolicyHost {
    fn get_stdout(&mut self) -> Result<Resource<DynOutputStream>> {
        let handle: DynOutputStream = Box::new(SinkOutputStream);
        Ok(self.table.push(handle)?)
    }
}

impl stderr::Host for PolicyHost {
    fn get_stderr(&mut self) -> Result<Resource<DynOutputStream>> {
        let handle: DynOutputStream = Box::new(SinkOutputStream);
        Ok(self.table.push(handle)?)
    }
}

impl terminal_input::Host for PolicyHost {}

impl terminal_input::HostTerminalInput for PolicyHost {
    fn drop(&mut self, _: Resource<terminal_input::TerminalInput>) -> Result<()> {
        bail!("there is no terminal")
    }
}

impl terminal_output::Host for PolicyHost {}

impl terminal_output::HostTerminalOutput for PolicyHost {
    fn drop(&mut self, _: Resource<terminal_output::TerminalOutput>) -> Result<()> {
        bail!("there is no terminal")
    }
}

impl terminal_stdin::Host for PolicyHost {
    fn get_terminal_stdin(&mut self) -> Result<Option<Resource<terminal_input::TerminalInput>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for PolicyHost {
    fn get_terminal_stdout(&mut self) -> Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for PolicyHost {
    fn get_terminal_stderr(&mut self) -> Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl preopens::Host for PolicyHost {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        Ok(Vec::new())
    }
}
