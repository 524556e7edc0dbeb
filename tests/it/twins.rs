//! Two tokens that hold the same keys: one goes, the other serves; they disagree, neither does.

mod disagreeing;
mod network;
mod outages;
mod queue;
mod spread;
mod strangers;

use chancery_test_support::twins::{A, B, kill_all, wait_for_check};
