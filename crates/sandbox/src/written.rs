//! Where a command writes, and where the gateway reads it: a pipe, or a terminal.
//!
//! The terminal is for programs that show something else, or nothing, where there is none. It is one to write to alone: nobody
//! types at it, what it is told is not echoed, and lines end as they are written.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, OutputModes, Winsize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::unix::pipe;

/// What programs are told that it measures: that of an old screen, which none is too wide for.
const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// The two ends: what is read, and what is written to.
pub(crate) fn pair(is_terminal: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    if !is_terminal {
        return Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?);
    }
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let near = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&near)?;
    // By its handle: no path is looked up in a `/dev/pts` that may be another one.
    let far = rustix::pty::ioctl_tiocgptpeer(&near, flags)?;
    let mut modes = rustix::termios::tcgetattr(&far)?;
    modes.output_modes.remove(OutputModes::OPOST);
    modes.local_modes.remove(LocalModes::ECHO);
    rustix::termios::tcsetattr(&far, OptionalActions::Now, &modes)?;
    rustix::termios::tcsetwinsize(&far, SIZE)?;
    rustix::io::ioctl_fionbio(&near, true)?;
    Ok((near, far))
}

/// The end that is read.
#[derive(Debug)]
pub(crate) enum Written {
    Pipe(pipe::Receiver),
    Terminal(AsyncFd<OwnedFd>),
}

impl Written {
    /// Of what [`pair`] gave.
    pub(crate) fn of(end: OwnedFd, is_terminal: bool) -> io::Result<Self> {
        if is_terminal {
            crate::running::await_readable(end).map(Self::Terminal)
        } else {
            pipe::Receiver::from_owned_fd(end).map(Self::Pipe)
        }
    }

    /// What was written, or nothing at the end: when nobody can write any more.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let terminal = match self {
            Self::Pipe(pipe) => return pipe.read(buffer).await,
            Self::Terminal(terminal) => terminal,
        };
        let read = terminal
            .async_io(Interest::READABLE, |end| Ok(rustix::io::read(end.as_fd(), &mut *buffer)?))
            .await;
        match read {
            // Nobody has its other end.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(0),
            other => other,
        }
    }
}
