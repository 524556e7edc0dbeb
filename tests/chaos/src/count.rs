//! Counts the calls of each order in files, so that all signers count together.

use std::{
    fs::{self, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Seek, Write},
};

use crate::orders::{Order, Orders, When, directory};

/// Counts the call, and returns whether the order applies to it.
pub(crate) fn is_told(orders: &Orders, order: &Order) -> bool {
    let number = |order| match next(orders, order) {
        Ok(number) => number,
        Err(error) => {
            eprintln!("chaos: a call cannot be counted: {error}");
            0
        }
    };
    match order.when {
        When::Always => true,
        When::Between(first, last) => (first..=last).contains(&number(order)),
        When::Each(step) => {
            let number = number(order);
            number > 0 && number.is_multiple_of(step)
        }
    }
}

/// The number of this call, from 1. Appending one octet to a file gives each process another length, without
/// a lock.
fn next(orders: &Orders, order: &Order) -> io::Result<u64> {
    let Some(directory) = directory() else { return Ok(0) };
    let counts = directory.join("counts");
    fs::create_dir_all(&counts)?;
    let mut name = DefaultHasher::new();
    (orders.version, order.line).hash(&mut name);
    let path = counts.join(format!("{:016x}", name.finish()));
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(b".")?;
    file.stream_position()
}
