//! What a stream follows: the views of one scope, one after another.
//!
//! ```text
//!  Slot (layer, watch) ─┐                         ┌─► Views of a stream
//!  Slot ────────────────┼─► Seen: view of a scope ┼─► Views of a stream    waits on the watches of its own layers
//!  Slot ────────────────┘   made once for all     └─► Views of a stream
//! ```

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::whereabouts::Whereabout;
use crate::resources::{Layer, View};
use crate::translate::LayerKey;

/// How many layers a scope can see.
const LAYERS_MAX: usize = 5;

/// One layer in use. It is in use for as long as somebody holds it.
pub(super) struct Slot {
    pub(super) key: LayerKey,
    /// Written by [`Epoch::publish`] only; `None` = not made yet.
    layer: Mutex<Option<Arc<Layer>>>,
    announced: watch::Sender<u64>,
}

impl Slot {
    /// A slot for a layer, which may be made already.
    pub(super) fn new(key: LayerKey, layer: Option<Arc<Layer>>) -> Self {
        Self { key, layer: Mutex::new(layer), announced: watch::Sender::new(0) }
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
        for (slot, layer) in layers {
            slot.announced.send_replace(layer.generation);
        }
    }
}

/// What one scope sees, for all of its streams.
pub(super) struct Seen {
    epoch: Arc<Epoch>,
    /// The topmost layer's comes first.
    slots: Vec<Arc<Slot>>,
    view: Mutex<Option<Arc<View>>>,
}

impl Seen {
    /// Through these slots, the topmost layer's first.
    pub(super) fn new(epoch: &Arc<Epoch>, slots: Vec<Arc<Slot>>) -> Self {
        debug_assert!((1..=LAYERS_MAX).contains(&slots.len()), "a stream waits for so many");
        Self { epoch: Arc::clone(epoch), slots, view: Mutex::default() }
    }

    /// The view as it is now; `None` = not known yet.
    fn view(&self) -> Option<Arc<View>> {
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
pub struct Views(Source);

enum Source {
    Seen { seen: Arc<Seen>, layers: [Option<watch::Receiver<u64>>; LAYERS_MAX], whereabout: Whereabout },
    Single(watch::Receiver<Option<Arc<View>>>),
}

impl Views {
    pub(super) fn new(seen: Arc<Seen>, whereabout: Whereabout) -> Self {
        let mut slots = seen.slots.iter();
        let mut receiver = || {
            let mut receiver = slots.next()?.announced.subscribe();
            // What was announced before counts, too.
            receiver.mark_changed();
            Some(receiver)
        };
        let layers = std::array::from_fn(|_| receiver());
        Self(Source::Seen { seen, layers, whereabout })
    }

    /// The views that somebody sends.
    pub fn of(receiver: watch::Receiver<Option<Arc<View>>>) -> Self {
        Self(Source::Single(receiver))
    }

    /// The view as it is now; `None` = not known yet. What changes from here on is new to [`Views::changed`].
    pub fn latest(&mut self) -> Option<Arc<View>> {
        // First, so that what comes in between is looked at again.
        self.mark_seen();
        self.peek()
    }

    fn mark_seen(&mut self) {
        match &mut self.0 {
            Source::Single(receiver) => _ = receiver.borrow_and_update(),
            Source::Seen { layers, whereabout, .. } => {
                layers.iter_mut().flatten().for_each(|layer| _ = layer.borrow_and_update());
                whereabout.mark_seen();
            }
        }
    }

    /// The same, without a look at what is new: for who looks at something else first.
    pub fn peek(&self) -> Option<Arc<View>> {
        match &self.0 {
            Source::Single(receiver) => receiver.borrow().clone(),
            Source::Seen { seen, .. } => seen.view(),
        }
    }

    /// Waits until there may be another view, or until the proxy may belong to another scope.
    pub async fn changed(&mut self) {
        let changed = match &mut self.0 {
            Source::Single(receiver) => receiver.changed().await,
            Source::Seen { layers: [a, b, c, d, e], whereabout, .. } => tokio::select! {
                changed = next(a) => changed,
                changed = next(b) => changed,
                changed = next(c) => changed,
                changed = next(d) => changed,
                changed = next(e) => changed,
                changed = whereabout.changed() => changed,
            },
        };
        if changed.is_err() {
            // Nobody makes views any more: the last one stays.
            std::future::pending::<()>().await;
        }
        self.mark_seen();
    }

    /// Has [`Views::changed`] return at once.
    pub fn mark_changed(&mut self) {
        match &mut self.0 {
            Source::Single(receiver) => receiver.mark_changed(),
            Source::Seen { whereabout, .. } => whereabout.mark_changed(),
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

async fn next(layer: &mut Option<watch::Receiver<u64>>) -> Result<(), watch::error::RecvError> {
    match layer {
        Some(layer) => layer.changed().await,
        None => std::future::pending().await,
    }
}
