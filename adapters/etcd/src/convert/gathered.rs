//! The ports of a service that nobody describes: those that its instances name.
//!
//! Their numbers are guesses. Clients call a number and are configured for a protocol, so what was found first is
//! settled. The number stays as long as the service has instances, whichever of them come and go; the protocol as
//! long as an instance says it.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::{Port, Protocol, ServicePort};

use crate::document::Instance;

/// Numbers of ports that no instance has any more are kept up to so many ports: instances may make up names
/// without end.
const MAX_KEPT: usize = 64;

/// What was settled of the ports of one service, by their names. The port without a name is "".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled(BTreeMap<String, SettledPort>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SettledPort {
    number: Port,
    protocol: Protocol,
    /// What is spoken where no instance says it.
    implied: Protocol,
}

/// The ports of a service that nobody describes.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) ports: Vec<ServicePort>,
    /// Those whose protocols nobody has said.
    pub(super) guessed_protocols: BTreeSet<Port>,
    /// The number of the port that instances do not name.
    pub(super) unnamed: Option<Port>,
    pub(super) settled: Settled,
    /// What a reader should know of how they were found.
    pub(super) notes: Vec<String>,
}

impl Settled {
    /// What a description says, for the time when there is none any more.
    pub(super) fn described(ports: &[ServicePort]) -> Self {
        let settled = |port: &ServicePort| SettledPort {
            number: port.number,
            protocol: port.protocol,
            implied: port.protocol,
        };
        let named = ports.iter().map(|port| (port.name.clone(), settled(port)));
        // An instance that does not name its port serves the only one.
        let only = match ports {
            [only] => Some((String::new(), settled(only))),
            _ => None,
        };
        Self(named.chain(only).collect())
    }
}

/// What instances say of a port of one name.
#[derive(Default)]
struct Said {
    numbers: BTreeSet<Port>,
    /// And how many instances say each, in the order of the instances.
    protocols: Vec<(Protocol, usize)>,
    /// How many say none.
    silent: usize,
}

impl Said {
    fn add(&mut self, number: Port, protocol: Option<Protocol>) {
        self.numbers.insert(number);
        let Some(protocol) = protocol else {
            self.silent += 1;
            return;
        };
        match self.protocols.iter_mut().find(|(known, _)| *known == protocol) {
            Some((_, count)) => *count += 1,
            None => self.protocols.push((protocol, 1)),
        }
    }

    fn says(&self, protocol: Protocol) -> bool {
        self.protocols.iter().any(|(said, _)| *said == protocol)
    }

    /// Who says nothing says the implied protocol. What was settled stays as long as an instance says it; otherwise
    /// it is what most say, the first of several such. So one instance with a wrong word does not change what all
    /// others speak, and a word that nobody says any more does not stay.
    fn protocol(&self, before: Option<Protocol>, implied: Protocol) -> Protocol {
        let stays = |before: &Protocol| self.says(*before) || (*before == implied && self.silent > 0);
        let most = self.protocols.iter().rev().max_by_key(|(_, count)| *count);
        let most = most.filter(|(_, count)| *count >= self.silent).map(|(protocol, _)| *protocol);
        before.filter(stays).or(most).unwrap_or(implied)
    }

    /// What instances say differently, where they do. Who says nothing matters where that is what counts.
    fn dispute(&self, number: Port, counts: Protocol) -> Option<String> {
        let silent = self.silent > 0 && !self.says(counts);
        let said = self.protocols.iter().map(|(protocol, _)| protocol.to_string());
        let all: Vec<_> = said.chain(silent.then(|| "none".to_owned())).collect();
        let all = Some(all).filter(|all| all.len() > 1)?.join(", ");
        Some(format!("its instances say different protocols of port {number}: {all}; {counts} counts"))
    }
}

impl Gathered {
    /// A port's number is the one that was settled. Of a new port it is the smallest that an instance has it at and
    /// that no other port has taken, in the order of names.
    pub(super) fn of<'a>(instances: impl Iterator<Item = (&'a str, &'a Instance)>, before: &Settled) -> Self {
        let mut named: BTreeMap<&str, Said> = BTreeMap::new();
        for (_, instance) in instances {
            if let Some(number) = instance.port {
                named.entry("").or_default().add(number, instance.protocol);
            }
            for (name, number) in &instance.ports {
                named.entry(name).or_default().add(*number, instance.protocols.get(name).copied());
            }
        }
        let unnamed = named.remove("");
        let mut gathered = Self::default();
        let mut taken = before.0.iter().filter(|(name, _)| named.contains_key(name.as_str()));
        let mut taken: BTreeSet<Port> = taken.by_ref().map(|(_, port)| port.number).collect();
        for (name, said) in &named {
            gathered.add(name, said, before, &mut taken);
        }
        // Instances that do not name their port serve the one that has the same number.
        if let Some(said) = unnamed.filter(|said| said.numbers.iter().any(|number| !taken.contains(number))) {
            gathered.add("", &said, before, &mut taken);
        }
        gathered.keep(before);
        gathered
    }

    fn add(&mut self, name: &str, said: &Said, before: &Settled, taken: &mut BTreeSet<Port>) {
        let known = before.0.get(name);
        let free = || said.numbers.iter().find(|number| !taken.contains(number)).copied();
        // A name was taken into account before; of the port without one, the number may be a named port's by now.
        let settled =
            known.map(|known| known.number).filter(|number| !name.is_empty() || !taken.contains(number));
        let Some(number) = settled.or_else(free) else { return };
        taken.insert(number);
        let implied = known.map_or_else(|| protocol_in(name).unwrap_or(Protocol::Tcp), |known| known.implied);
        let protocol = said.protocol(known.map(|known| known.protocol), implied);
        let shown = if name.is_empty() { format!("{protocol}-{number}") } else { name.to_owned() };
        if self.ports.iter().any(|port| port.name == shown) {
            return;
        }
        self.ports.push(ServicePort { number, name: shown, protocol });
        self.settled.0.insert(name.to_owned(), SettledPort { number, protocol, implied });
        if !said.says(protocol) && protocol_in(name) != Some(protocol) {
            self.guessed_protocols.insert(number);
        }
        if name.is_empty() {
            self.unnamed = Some(number);
        }
        self.notes.extend(note(name, number, said));
        self.notes.extend(said.dispute(number, protocol));
    }

    /// A port that is gone has its number again when it is back.
    fn keep(&mut self, before: &Settled) {
        let gone = before.0.iter().filter(|(name, _)| !self.settled.0.contains_key(*name));
        let gone: Vec<_> = gone.map(|(name, port)| (name.clone(), *port)).collect();
        if self.settled.0.len() + gone.len() <= MAX_KEPT {
            self.settled.0.extend(gone);
        }
    }
}

/// Where all instances listen on one number, that is the number whenever anybody looks.
fn note(name: &str, number: Port, said: &Said) -> Option<String> {
    if said.numbers.iter().eq([&number]) {
        return None;
    }
    let which = match name {
        "" => format!("served at port {number}"),
        name => format!("its port {name:?} is served at {number}"),
    };
    let how =
        if said.numbers.contains(&number) { "that of an instance" } else { "that of an instance at first" };
    Some(format!(
        "{which}, which was guessed ({how}). Say which port clients call: write a description of the service"
    ))
}

/// A port named `grpc` or `http-admin` says what is spoken there; of any other one it is a guess that it
/// takes bytes.
fn protocol_in(name: &str) -> Option<Protocol> {
    name.split('-').next().and_then(|word| word.parse().ok())
}
