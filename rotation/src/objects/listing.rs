//! The objects of a URL, page by page.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock},
};

use envelope_sdk::printable;
use futures_util::{StreamExt, stream};
use object_store::{Error, list::PaginatedListOptions, path};

use super::{
    Passed, Root,
    left::{self, Left},
    store::{Told, path_of},
};
use crate::{Item, Listing, SourceError};

/// The objects of all roots, behind the one of the name `behind` in the store that it is in. Where `left` is given, temporary objects of jobs that were killed are looked for first.
pub(super) fn list(roots: Arc<[Root]>, behind: Option<String>, left: Option<Arc<RwLock<Left>>>) -> Listing {
    let each = stream::iter(0..roots.len()).flat_map(move |index| {
        let root = roots[index].clone();
        let behind = behind.as_deref().and_then(|name| name.strip_prefix(root.store.name()));
        let walk = Walk::new(root.clone(), behind, left.clone());
        stream::unfold(walk, |mut walk| async move {
            let listed = walk.next().await?;
            Some((listed, walk))
        })
    });
    Box::pin(each)
}

struct Walk {
    root: Root,
    left: Option<Arc<RwLock<Left>>>,
    ready: VecDeque<Result<Item, SourceError>>,
    has_begun: bool,
    is_over: bool,
    has_found: bool,
    prefix: String,
    token: Option<String>,
    /// Where the listing begins: behind the last name that had to be passed over, or that was seen before.
    behind: Option<String>,
    /// Names that are asked for at once: fewer, the nearer one is that the client does not take.
    page: usize,
}

impl Walk {
    fn new(root: Root, behind: Option<&str>, left: Option<Arc<RwLock<Left>>>) -> Self {
        let prefix = match root.key.as_str() {
            key if key.is_empty() || key.ends_with('/') => key.to_owned(),
            key => format!("{key}/"),
        };
        Self {
            root,
            left,
            ready: VecDeque::new(),
            has_begun: false,
            is_over: false,
            // Of which something was seen before, it is there.
            has_found: behind.is_some(),
            prefix,
            token: None,
            behind: behind.map(ToOwned::to_owned),
            page: PAGE,
        }
    }

    async fn next(&mut self) -> Option<Result<Item, SourceError>> {
        loop {
            if let Some(listed) = self.ready.pop_front() {
                return Some(listed);
            }
            if self.is_over {
                return None;
            }
            if !self.has_begun {
                self.has_begun = true;
                self.begin().await;
                continue;
            }
            self.turn().await;
            if self.is_over && !self.has_found && !self.root.key.is_empty() {
                // Reading it says that it is not there.
                self.ready.push_back(Ok(Item::named(self.name(&self.root.key))));
            }
        }
    }

    /// Looks for the object that has the key of the URL, and for what was left.
    async fn begin(&mut self) {
        let store = Arc::clone(&self.root.store);
        let exact = match self.root.key.as_str() {
            key if key.is_empty() || key.ends_with('/') => None,
            key => match path_of(key) {
                Ok(path) => Some(path),
                Err(error) => return self.tell(error),
            },
        };
        if let Some(left) = &self.left {
            let mut folders = vec![(left::folder_in(self.prefix.trim_end_matches('/')), None)];
            folders.extend(exact.as_ref().map(|key| (self.root.temporary_folder(key), Some(key))));
            for (folder, only) in folders {
                let (found, old) = Left::find(&store, &folder, only).await;
                left.write().unwrap_or_else(PoisonError::into_inner).add(found);
                for temporary in old {
                    let _ = store.delete(&temporary).await;
                }
            }
        }
        // Its name comes before all those below it.
        let exact = exact.filter(|key| self.behind.as_deref().is_none_or(|behind| key.as_ref() > behind));
        if let Some(key) = exact {
            match store.size(&key).await {
                Ok(_) => self.ready.push_back(Ok(Item::named(self.name(key.as_ref())))),
                Err(Error::NotFound { .. }) => return,
                Err(error) => return self.tell_of(&error),
            }
            self.has_found = true;
        }
    }

    /// One page.
    async fn turn(&mut self) {
        let begins_behind = self.root.store.lists_from_a_name();
        let options = PaginatedListOptions {
            offset: self.behind.clone().filter(|_| begins_behind),
            max_keys: Some(self.page),
            page_token: self.token.clone(),
            ..PaginatedListOptions::default()
        };
        match self.root.store.list(&self.prefix, options).await {
            Ok(page) => {
                for object in page.result.objects {
                    let key = object.location.as_ref();
                    self.has_found = true;
                    if self.behind.as_deref().is_some_and(|behind| key <= behind) {
                        continue;
                    }
                    // What is empty is no envelope; consoles write such objects for folders.
                    if object.size > 0 && !left::is_temporary(key) {
                        self.ready.push_back(Ok(Item::found(self.name(key))));
                    }
                }
                self.page = (self.page * 2).min(PAGE);
                self.token = page.page_token;
                self.is_over = self.token.is_none();
            }
            Err(Error::InvalidPath { source }) => match bad_key(&source) {
                Some(_) if self.page > 1 => self.page /= 2,
                Some(key) => self.pass_over(key.to_owned()),
                None => self.tell_of(&Error::InvalidPath { source }),
            },
            Err(error) => self.tell_of(&error),
        }
    }

    /// Tells of a key that the client cannot write, and goes on behind it.
    fn pass_over(&mut self, key: String) {
        self.has_found = true;
        let goes_on = self.root.store.lists_from_a_name();
        let rest = if goes_on { "" } else { ", and what comes behind it is not listed" };
        let name = self.name(&key);
        let told = Told(format!(
            "{}: its key has control characters, an empty part, `.` or `..` between slashes: rename it first{rest}",
            printable::cut(&name, 2048)
        ));
        self.ready.push_back(Err(SourceError::store(Passed { name, told })));
        self.is_over = !goes_on;
        // The next may be one like it: pages grow again with those that are taken.
        (self.behind, self.token, self.page) = (Some(key), None, 1);
    }

    fn tell_of(&mut self, error: &Error) {
        self.tell(SourceError::store(Told(format!("{}: {error}", self.name(&self.root.key)))));
    }

    /// The last that is said of this root.
    fn tell(&mut self, error: SourceError) {
        (self.is_over, self.has_found) = (true, true);
        self.ready.push_back(Err(error));
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.root.store.name())
    }
}

/// The key that the client does not take. One that begins or ends with a slash has another one there by now.
fn bad_key(error: &path::Error) -> Option<&str> {
    match error {
        path::Error::EmptySegment { path } | path::Error::BadSegment { path, .. } => {
            let path = path.strip_prefix('/').unwrap_or(path);
            Some(path.strip_suffix('/').unwrap_or(path))
        }
        _ => None,
    }
}

const PAGE: usize = 1000;
