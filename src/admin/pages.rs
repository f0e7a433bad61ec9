//! Which paths there are, and what stands behind each: the one table that requests are routed by.

use http::{HeaderValue, Method};
use matchit::Router;

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Healthz,
    Readyz,
    Metrics,
    Routes,
    Version,
    OpenApi,
    Parked(ParkedPage),
    Spool(SpoolPage),
}

/// A page about parked messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParkedPage {
    Queues,
    Messages,
    Message,
    Replay,
    Discard,
}

/// A page about the spools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpoolPage {
    Routes,
    Apart,
    Return,
    Discard,
}

/// Every path, as in the OpenAPI document. A path may have a page for reading and one for doing.
pub(super) const PAGES: [(&str, Page); 15] = [
    ("/healthz", Page::Healthz),
    ("/readyz", Page::Readyz),
    ("/metrics", Page::Metrics),
    ("/routes", Page::Routes),
    ("/version", Page::Version),
    ("/openapi.yaml", Page::OpenApi),
    ("/parked", Page::Parked(ParkedPage::Queues)),
    ("/parked/{queue}", Page::Parked(ParkedPage::Messages)),
    ("/parked/{queue}/{id}", Page::Parked(ParkedPage::Message)),
    ("/parked/{queue}/replay", Page::Parked(ParkedPage::Replay)),
    ("/parked/{queue}/discard", Page::Parked(ParkedPage::Discard)),
    ("/spool", Page::Spool(SpoolPage::Routes)),
    ("/spool/{route}/apart", Page::Spool(SpoolPage::Apart)),
    (
        "/spool/{route}/apart/return",
        Page::Spool(SpoolPage::Return),
    ),
    (
        "/spool/{route}/apart/discard",
        Page::Spool(SpoolPage::Discard),
    ),
];

impl Page {
    /// Whether it does something, by POST, rather than tell something, by GET.
    pub(super) fn acts(self) -> bool {
        matches!(
            self,
            Self::Parked(ParkedPage::Replay | ParkedPage::Discard)
                | Self::Spool(SpoolPage::Return | SpoolPage::Discard)
        )
    }

    pub(super) fn takes(self, method: &Method) -> bool {
        match self.acts() {
            true => *method == Method::POST,
            false => matches!(*method, Method::GET | Method::HEAD),
        }
    }

    pub(super) fn allow(self) -> HeaderValue {
        HeaderValue::from_static(match self.acts() {
            true => "POST",
            false => "GET, HEAD",
        })
    }
}

/// Finds pages by path.
#[derive(Debug, Clone)]
pub(super) struct Pages(Router<Page>);

/// A page and the parts of its path, still percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) page: Page,
    pub(super) queue: String,
    pub(super) id: String,
    pub(super) route: String,
}

impl Pages {
    pub(super) fn new() -> Self {
        let mut router = Router::new();
        for (path, page) in PAGES {
            // A table that does not fit itself is a mistake in this file, which its test shows.
            router.insert(path, page).ok();
        }
        Self(router)
    }

    pub(super) fn find(&self, path: &str, method: &Method) -> Option<Found> {
        let matched = self.0.at(path).ok()?;
        let part = |name| matched.params.get(name).unwrap_or_default().to_owned();
        let (mut page, mut id) = (*matched.value, part("id"));
        // A message may have an id like a verb.
        let parked = matches!(page, Page::Parked(_));
        if parked && page.acts() && matches!(*method, Method::GET | Method::HEAD) {
            page = Page::Parked(ParkedPage::Message);
            id = path.rsplit('/').next().unwrap_or_default().to_owned();
        }
        Some(Found {
            page,
            queue: part("queue"),
            id,
            route: part("route"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_table_is_found_by_its_method() {
        let pages = Pages::new();
        for (path, page) in PAGES {
            let path = path.replace("{queue}", "q%2Fr").replace("{id}", "m1");
            let path = path.replace("{route}", "orders");
            let method = match page.acts() {
                true => Method::POST,
                false => Method::GET,
            };
            let found = pages.find(&path, &method).unwrap();
            assert_eq!(found.page, page, "{path}");
            assert!(page.takes(&method), "{path}");
            assert!(!page.takes(&Method::DELETE), "{path}");
        }
        assert_eq!(pages.find("/", &Method::GET), None);
        assert_eq!(pages.find("/parked/a/b/c", &Method::GET), None);
    }

    #[test]
    fn a_message_may_be_called_like_a_verb() {
        let found = Pages::new().find("/parked/q/replay", &Method::GET).unwrap();
        assert_eq!(found.page, Page::Parked(ParkedPage::Message));
        assert_eq!((found.queue.as_str(), found.id.as_str()), ("q", "replay"));
    }
}
