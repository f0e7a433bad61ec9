//! A future that is left alone until it has something to say.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// Polls what is inside only after that has asked for it.
///
/// A task is polled as a whole: a connection that is woken for every read would each time ask its
/// timers and its shutdown signals as well, and take the locks behind them.
pub(super) struct Quiet<F> {
    future: F,
    bell: Arc<Bell>,
    waker: Waker,
}

struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl<F> Quiet<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Arc::new(Bell {
            // Nothing can ring before the first poll.
            rung: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        Self {
            future,
            waker: bell.clone().into(),
            bell,
        }
    }
}

impl<F: Future + Unpin> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        // Before the look, or a bell that rings between the two would be heard by nobody.
        this.bell.task.register(context.waker());
        if !this.bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let mut context = Context::from_waker(&this.waker);
        Pin::new(&mut this.future).poll(&mut context)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, pin::pin};

    use futures_util::{FutureExt, poll};
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn is_asked_once_until_it_rings() {
        let (sender, mut receiver) = oneshot::channel();
        let asked = Cell::new(0);
        let counted = poll_fn(|context| {
            asked.set(asked.get() + 1);
            receiver.poll_unpin(context)
        });
        let mut quiet = pin!(Quiet::new(counted));
        for _ in 0..3 {
            assert!(poll!(quiet.as_mut()).is_pending());
        }
        assert_eq!(asked.get(), 1);
        sender.send(7).unwrap();
        assert_eq!(quiet.await, Ok(7));
        assert_eq!(asked.get(), 2);
    }

    /// The bell wakes whoever polled last.
    #[tokio::test]
    async fn wakes_its_task() {
        let (sender, receiver) = oneshot::channel();
        let quiet = Quiet::new(receiver);
        let (heard, ()) = tokio::join!(quiet, async move {
            tokio::task::yield_now().await;
            sender.send(()).unwrap();
        });
        assert_eq!(heard, Ok(()));
    }
}
