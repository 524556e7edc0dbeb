//! Legacy names and equivalent forms that must be taken, defaults, clipping, several stores, and
//! dev mode.

mod defaults;
mod dev;
mod extremes;
mod forms;
mod stores;
