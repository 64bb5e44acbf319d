//! What services claim against each other: known of every scope, said in the log once.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use pilot::metrics::{Format, Metrics};
use pilot::proxies::Proxies;
use pilot::proxy::Scope;
use pilot::resources::View;
use pilot_registry::{Service, Snapshot};
use pilot_registry_testkit::{service, snapshot};
use tracing::subscriber::DefaultGuard;

use super::{Fixture, Sets, router, start, until};

/// What the log says.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn follow(&self) -> DefaultGuard {
        let writer = self.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        pilot_registry_testkit::logs::follow(format.finish())
    }

    /// What it says of conflicts now that it did not say before.
    fn fresh(&self) -> Vec<String> {
        self.fresh_of("services conflict")
    }

    /// The lines with this in them that it did not have before.
    pub(crate) fn fresh_of(&self, part: &str) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

/// Services that want one listener, of which all but one lose, and two namespaces with names of their own. Other
/// addresses are called by other names, about which nobody quarrels.
fn clashing(count: u32, address: &str) -> Snapshot {
    let tcp = |n: u32| service(&format!("s{n:03}.local")).tcp(5432).endpoint("10.0.0.1", 5432).build();
    let web = |namespace: &str| -> Arc<Service> {
        let web = service(&format!("web.{namespace}")).http(80).endpoint(address, 8080);
        let web = web.alias(&format!("{address}.{namespace}"));
        web.namespace(namespace).local_name("web").build()
    };
    snapshot((0..count).map(tcp).chain([web("bank"), web("shop")]))
}

fn within(namespace: &str) -> Scope {
    Scope { namespace: Some(namespace.to_owned().try_into().unwrap()), ..router() }
}

fn scopes() -> [Scope; 3] {
    [router(), within("bank"), within("shop")]
}

async fn after(sets: &mut Sets, before: &View) -> Arc<View> {
    until(sets, |set| set.generation() > before.generation()).await
}

/// A thousand clashing names in fifty namespaces are no fifty thousand lines.
#[tokio::test(start_paused = true)]
async fn conflicts_are_said_once_for_all_namespaces_and_not_one_by_one_without_end() {
    let log = Log::default();
    let _guard = log.follow();
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    scripts[0].publish(clashing(30, "10.0.0.2")).await;
    let scopes = scopes();
    let mut sets = scopes.each_ref().map(|scope| world.subscribe(scope).unwrap());
    let mut last = until(&mut sets[0], |_| true).await;
    for sets in &mut sets[1..] {
        until(sets, |_| true).await;
    }
    let lines = log.fresh();
    assert_eq!(lines.len(), 21, "{lines:#?}");
    assert!(lines[20].contains("more=9"), "{lines:#?}");
    let [(common, all)] = world.conflicts().try_into().expect("they are there once");
    assert_eq!((common, all.len()), (router(), 29));

    // One namespace's last proxy goes, and another comes: nothing of it is news.
    let [mut sets, _bank, shop] = sets;
    drop(shop);
    scripts[0].publish(clashing(30, "10.0.0.3")).await;
    last = after(&mut sets, &last).await;
    let mut shop = world.subscribe(&scopes[2]).unwrap();
    until(&mut shop, |_| true).await;
    assert!(Arc::ptr_eq(&all, &world.conflicts()[0].1), "nothing of them has changed");
    assert_eq!(log.fresh(), [""; 0]);

    scripts[0].publish(clashing(31, "10.0.0.3")).await;
    after(&mut sets, &last).await;
    let lines = log.fresh();
    assert!(lines.len() == 1 && lines[0].contains("s030.local"), "{lines:#?}");
}

/// One base is looked at, whoever shares it.
#[tokio::test(start_paused = true)]
async fn what_services_do_not_get_is_counted_once_for_five_thousand_scopes() {
    let Fixture { world, scripts, _tasks } = start(&["east"]);
    scripts[0].publish(clashing(30, "10.0.0.2")).await;
    let scopes = (0..5000).map(|n| within(&format!("n{n}"))).chain([router()]);
    let mut sets: Vec<Sets> = scopes.map(|scope| world.subscribe(&scope).unwrap()).collect();
    until(sets.last_mut().unwrap(), |_| true).await;
    assert_eq!(world.conflicts().len(), 1);
    let scrape = || Metrics::new().encode(Format::Prometheus, &world, &Proxies::default());
    let says = |text: &str, lines: &[&str]| {
        for line in lines {
            assert!(text.lines().any(|known| known == *line), "{line} is not in\n{text}");
        }
    };
    let conflicts = "pilot_claim_conflicts{claim=\"listener\"}";
    says(
        &scrape(),
        &["pilot_scopes 5001", &format!("{conflicts} 29"), "pilot_claim_conflicts{claim=\"name\"} 0"],
    );
    // What nobody is sent any more is no conflict of anybody's.
    drop(sets);
    says(&scrape(), &["pilot_scopes 0", &format!("{conflicts} 0")]);
}
