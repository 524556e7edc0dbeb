//! A queue of calls, first come, first served, over all processes that load this library.
//!
//! Each call draws a number and locks a file of that name until it is done. It waits for the files of all
//! smaller numbers. The kernel unlocks the file of a process that ends, so a killed one holds up no other.
//! A lock that all wait for would not do: the kernel wakes every waiter, and one of them may lose each time.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// The right to be the only call at work. It ends when this is dropped.
pub(crate) struct Turn {
    _mine: File,
}

impl Turn {
    /// Waits until all calls that came before this one are done.
    pub(crate) fn wait(directory: PathBuf) -> io::Result<Self> {
        let file = |number: u64| directory.join(format!("turn-{number}"));
        let (number, mine) = draw(&directory.join("turns"), file)?;
        for earlier in (0..number).rev() {
            match File::open(file(earlier)) {
                Ok(other) => {
                    other.lock_shared()?;
                    remove(&file(earlier))?;
                }
                // It is done, and so are all before it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Self { _mine: mine })
    }
}

/// The next number, and its file, which is locked before anybody can draw the number after it.
fn draw(counter: &Path, file: impl Fn(u64) -> PathBuf) -> io::Result<(u64, File)> {
    let mut counter =
        File::options().read(true).write(true).create(true).truncate(false).open(counter)?;
    counter.lock()?;
    let mut text = String::new();
    counter.read_to_string(&mut text)?;
    let number = text.parse().unwrap_or(0);
    let mine = File::create(file(number))?;
    mine.lock()?;
    counter.rewind()?;
    write!(counter, "{}", number + 1)?;
    Ok((number, mine))
}

/// Two calls may have waited for a killed one.
fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
