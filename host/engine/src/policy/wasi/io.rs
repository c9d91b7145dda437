//! Streams that end in the log. They are always ready, and nothing else can be waited for: a clock that would give
//! something to wait for is stopped there (`clock`), so every pollable that exists is a ready one.
//!
//! Does not know which stream is standard output and which is standard error: both are the policy talking.

use super::super::host::PolicyHost;
use wasmtime::{Result, component::Resource};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, IoError, StreamError, StreamResult,
    bindings::sync::io::{error, poll, streams},
    subscribe,
};

/// What may be written at once, as WASI wants it to be told.
const WRITE_AT_ONCE: u64 = 64 << 10;

impl PolicyHost {
    fn zeroes(&mut self, length: u64) -> StreamResult<()> {
        let length = usize::try_from(length.min(WRITE_AT_ONCE)).unwrap_or_default();
        self.log.print(&vec![0; length]);
        Ok(())
    }
}

impl error::Host for PolicyHost {}

impl error::HostError for PolicyHost {
    fn to_debug_string(&mut self, error: Resource<IoError>) -> Result<String> {
        Ok(format!("{:?}", self.table.get(&error)?))
    }

    fn drop(&mut self, error: Resource<IoError>) -> Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}

impl poll::Host for PolicyHost {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        Ok((0..u32::try_from(pollables.len())?).collect())
    }
}

impl poll::HostPollable for PolicyHost {
    fn ready(&mut self, _: Resource<DynPollable>) -> Result<bool> {
        Ok(true)
    }

    fn block(&mut self, _: Resource<DynPollable>) -> Result<()> {
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        self.table.delete(pollable)?;
        Ok(())
    }
}

impl streams::Host for PolicyHost {
    fn convert_stream_error(&mut self, error: StreamError) -> Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(error) => {
                Ok(streams::StreamError::LastOperationFailed(self.table.push(error)?))
            }
            StreamError::Trap(error) => Err(error),
        }
    }
}

impl streams::HostInputStream for PolicyHost {
    fn read(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<Vec<u8>> {
        Err(StreamError::Closed)
    }

    fn blocking_read(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<Vec<u8>> {
        Err(StreamError::Closed)
    }

    fn skip(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn blocking_skip(&mut self, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, stream)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}

impl streams::HostOutputStream for PolicyHost {
    fn check_write(&mut self, _: Resource<DynOutputStream>) -> StreamResult<u64> {
        Ok(WRITE_AT_ONCE)
    }

    fn write(&mut self, _: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.log.print(&bytes);
        Ok(())
    }

    fn blocking_write_and_flush(&mut self, _: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.log.print(&bytes);
        Ok(())
    }

    fn flush(&mut self, _: Resource<DynOutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn blocking_flush(&mut self, _: Resource<DynOutputStream>) -> StreamResult<()> {
        Ok(())
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, stream)
    }

    fn write_zeroes(&mut self, _: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        self.zeroes(length)
    }

    fn blocking_write_zeroes_and_flush(&mut self, _: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        self.zeroes(length)
    }

    fn splice(&mut self, _: Resource<DynOutputStream>, _: Resource<DynInputStream>, _: u64) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn blocking_splice(
        &mut self,
        _: Resource<DynOutputStream>,
        _: Resource<DynInputStream>,
        _: u64,
    ) -> StreamResult<u64> {
        Err(StreamError::Closed)
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
