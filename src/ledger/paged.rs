//! A growing array in pages: growth never moves what is there, so no posting waits for a copy of ten million slots.

const PAGE_SLOTS: usize = 4096;

/// Values by dense index from 0.
#[derive(Debug)]
pub(crate) struct Paged<T> {
    pages: Vec<Vec<T>>,
    count: usize,
}

impl<T> Paged<T> {
    pub(crate) fn new() -> Self {
        Self { pages: Vec::new(), count: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE_SLOTS)?.get(index % PAGE_SLOTS)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.pages.get_mut(index / PAGE_SLOTS)?.get_mut(index % PAGE_SLOTS)
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.count.is_multiple_of(PAGE_SLOTS) {
            self.pages.push(Vec::with_capacity(PAGE_SLOTS));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(value);
            self.count += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let page = self.pages.last_mut()?;
        let value = page.pop()?;
        self.count -= 1;
        if page.is_empty() {
            self.pages.pop();
        }
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }
}
