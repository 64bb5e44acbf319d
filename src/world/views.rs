//! What a stream follows: the views of one scope, one after another.
//!
//! ```text
//!  Slot (layer, waiters) ─┐                        ┌─► Views of a stream
//!  Slot ──────────────────┼─► ScopeView of a scope ┼─► Views of a stream    is woken by its own layers, and by
//!  Slot ──────────────────┘   made once for all    └─► Views of a stream    what becomes of its address
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::signal::{Signal, Waiters};
use super::whereabouts::{Whereabout, Whereabouts};
use crate::resources::{Layer, View};
use crate::translate::LayerKey;

/// The layers that nobody holds any more. One may have come into use again since.
pub(super) type Dropped = Arc<Mutex<BTreeSet<LayerKey>>>;

/// One layer in use. It is in use for as long as somebody holds it.
pub(super) struct Slot {
    pub(super) key: LayerKey,
    dropped: Dropped,
    /// Written by [`Epoch::publish`] only; `None` = not made yet.
    layer: Mutex<Option<Arc<Layer>>>,
    waiters: Waiters,
}

impl Slot {
    /// A slot for a layer, which may be made already.
    pub(super) fn new(key: LayerKey, layer: Option<Arc<Layer>>, dropped: &Dropped) -> Self {
        Self { key, dropped: Arc::clone(dropped), layer: Mutex::new(layer), waiters: Waiters::default() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.dropped.lock().insert(self.key.clone());
    }
}

/// Held while layers are put in place, so that nobody sees some of one mesh and some of another.
#[derive(Default)]
pub(super) struct Epoch(RwLock<()>);

impl Epoch {
    /// Puts layers in place, and tells those who wait for them, in this order.
    pub(super) fn publish(&self, layers: &[(Arc<Slot>, Arc<Layer>)]) {
        let publishing = self.0.write();
        for (slot, layer) in layers {
            *slot.layer.lock() = Some(Arc::clone(layer));
        }
        drop(publishing);
        layers.iter().for_each(|(slot, _)| slot.waiters.set());
    }
}

/// What one scope sees, for all of its streams.
pub(super) struct ScopeView {
    epoch: Arc<Epoch>,
    /// The topmost layer's comes first.
    slots: Vec<Arc<Slot>>,
    view: Mutex<Option<Arc<View>>>,
}

impl ScopeView {
    /// Through these slots, the topmost layer's first.
    pub(super) fn new(epoch: &Arc<Epoch>, slots: Vec<Arc<Slot>>) -> Self {
        Self { epoch: Arc::clone(epoch), slots, view: Mutex::default() }
    }

    /// The view as it is now; `None` = not known yet.
    pub(super) fn view(&self) -> Option<Arc<View>> {
        let layers = {
            let _publishing = self.epoch.0.read();
            self.slots.iter().map(|slot| slot.layer.lock().clone()).collect::<Option<Vec<_>>>()?
        };
        let mut known = self.view.lock();
        let is_known =
            |view: &&Arc<View>| view.layers().iter().map(Arc::as_ptr).eq(layers.iter().map(Arc::as_ptr));
        if let Some(view) = known.as_ref().filter(is_known) {
            return Some(Arc::clone(view));
        }
        let mut layers = layers;
        let base = layers.pop()?;
        let view = Arc::new(View::new(layers, base));
        *known = Some(Arc::clone(&view));
        Some(view)
    }
}

/// The views of one scope, as they come.
pub struct Views(Backing);

enum Backing {
    Scope { scope_view: Arc<ScopeView>, signal: Arc<Signal>, _whereabout: Whereabout },
    Single(watch::Receiver<Option<Arc<View>>>),
}

impl Views {
    /// What is seen from an address, if there is one.
    pub(super) fn new(
        scope_view: Arc<ScopeView>,
        whereabouts: &Whereabouts,
        address: Option<IpAddr>,
    ) -> Self {
        let signal = Arc::new(Signal::default());
        scope_view.slots.iter().for_each(|slot| slot.waiters.add(&signal));
        let whereabout = whereabouts.follow(address, &signal);
        // What was announced before counts, too.
        signal.set();
        Self(Backing::Scope { scope_view, signal, _whereabout: whereabout })
    }

    /// The views that somebody sends.
    pub fn of(receiver: watch::Receiver<Option<Arc<View>>>) -> Self {
        Self(Backing::Single(receiver))
    }

    /// The view as it is now; `None` = not known yet. What changes from here on is new to [`Views::changed`].
    pub fn latest(&mut self) -> Option<Arc<View>> {
        // First, so that what comes in between is looked at again.
        self.mark_seen();
        self.peek()
    }

    fn mark_seen(&mut self) {
        match &mut self.0 {
            Backing::Single(receiver) => _ = receiver.borrow_and_update(),
            Backing::Scope { signal, .. } => signal.clear(),
        }
    }

    /// The same, without a look at what is new: for who looks at something else first.
    pub fn peek(&self) -> Option<Arc<View>> {
        match &self.0 {
            Backing::Single(receiver) => receiver.borrow().clone(),
            Backing::Scope { scope_view, .. } => scope_view.view(),
        }
    }

    /// Waits until there may be another view, or until the proxy may belong to another scope.
    pub async fn changed(&mut self) {
        match &mut self.0 {
            Backing::Scope { signal, .. } => signal.wait().await,
            Backing::Single(receiver) => {
                if receiver.changed().await.is_err() {
                    // Nobody makes views any more: the last one stays.
                    std::future::pending::<()>().await;
                }
            }
        }
        self.mark_seen();
    }

    /// Has [`Views::changed`] return at once.
    pub fn mark_changed(&mut self) {
        match &mut self.0 {
            Backing::Single(receiver) => receiver.mark_changed(),
            Backing::Scope { signal, .. } => signal.set(),
        }
    }

    /// Waits for a view of which something is true.
    pub async fn wait_for(&mut self, mut is_expected: impl FnMut(&View) -> bool) -> Arc<View> {
        loop {
            if let Some(view) = self.latest().filter(|view| is_expected(view)) {
                return view;
            }
            self.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Wake, Waker};

    use tokio::time::Instant;

    use super::*;
    use crate::proxy::{ConfigSource, Role};

    /// A stream that looks what there is as soon as it is woken.
    struct Stream {
        scope_view: Arc<ScopeView>,
        generations: Mutex<Vec<Vec<u64>>>,
    }

    impl Wake for Stream {
        fn wake(self: Arc<Self>) {
            let view = self.scope_view.view().expect("its layers are made");
            self.generations.lock().push(view.layers().iter().map(|layer| layer.generation).collect());
        }
    }

    #[test]
    fn all_layers_of_an_epoch_are_in_place_before_any_is_announced() {
        let layer = |generation| Arc::new(Layer::empty(generation, Instant::now()));
        let keys =
            [LayerKey::Endpoints { is_router: false }, LayerKey::Base(Role::Sidecar, ConfigSource::Ads)];
        let slots = keys.map(|key| Arc::new(Slot::new(key, Some(layer(1)), &Dropped::default())));
        let epoch = Arc::new(Epoch::default());
        let scope_view = Arc::new(ScopeView::new(&epoch, slots.to_vec()));
        let mut views = Views::new(Arc::clone(&scope_view), &Whereabouts::default(), None);
        views.latest();
        let stream = Arc::new(Stream { scope_view, generations: Mutex::default() });
        let waker = Waker::from(Arc::clone(&stream));
        let mut waits = pin!(views.changed());
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        epoch.publish(&slots.map(|slot| (slot, layer(2))));
        assert_eq!(*stream.generations.lock(), [[2, 2]]);
    }
}
