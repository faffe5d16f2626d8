//! Systems without such mappings and signals: no stack is ever made, and only the functions that report this are called.

use std::any::Any;
use std::ptr;

#[derive(Clone, Copy, Debug)]
pub(super) struct Area;

impl Area {
    pub(super) fn new(_start: *mut u8, _size: usize) -> Area {
        Area
    }

    pub(super) fn start(self) -> *mut u8 {
        ptr::null_mut()
    }

    pub(super) fn size(self) -> usize {
        0
    }

    /// # Safety
    /// There is nothing to be careful about.
    pub(super) unsafe fn run<R>(self, run: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
        Ok(run())
    }

    /// # Safety
    /// There is nothing to be careful about.
    pub(super) unsafe fn mark(self) {}

    /// # Safety
    /// There is nothing to be careful about.
    pub(super) unsafe fn went_deep(self) -> bool {
        false
    }

    /// # Safety
    /// There is nothing to be careful about.
    pub(super) unsafe fn trim(self) {}

    /// # Safety
    /// There is nothing to be careful about.
    pub(super) unsafe fn discard(self) {}

    /// # Safety
    /// There is nothing to be careful about.
    pub(super) unsafe fn close(self, _zone: usize) -> bool {
        false
    }
}

#[derive(Debug)]
pub(super) struct Mapping(());

impl Mapping {
    pub(super) fn new(_size: usize) -> Option<Mapping> {
        None
    }

    pub(super) fn area(&self) -> Area {
        Area
    }
}

#[derive(Debug)]
pub(super) struct SignalStack(());

impl SignalStack {
    pub(super) fn install() -> Option<SignalStack> {
        None
    }
}

pub(super) fn handler_is_installed() -> bool {
    false
}
