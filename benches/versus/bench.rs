//! A run of the benchmark: starts the proxies, excludes those that fail the check, measures the others.

use crate::Fallible;
use crate::arguments::Arguments;
use crate::check;
use crate::findings::ComparisonReport;
use crate::idle;
use crate::peers::{Logging, Peer, Proxy, Setting};
use crate::rounds::Course;
use crate::tools::{self, Tool, Toolbox};
use crate::works::Work;

/// A run and its results so far.
pub(crate) struct Bench<'a> {
    /// The programs.
    pub(crate) toolbox: &'a Toolbox,
    /// Where and how the proxies run.
    pub(crate) setting: &'a Setting,
    /// How to measure.
    pub(crate) course: &'a Course<'a>,
    /// The limit on open files per process.
    pub(crate) files_max: Option<u64>,
    /// The results.
    pub(crate) found: ComparisonReport,
    /// The configurations used: file name and text.
    pub(crate) configurations: Vec<(String, String)>,
}

impl Bench<'_> {
    /// Measures everything selected.
    pub(crate) fn run(&mut self, arguments: &Arguments) -> Fallible<()> {
        self.note_missing();
        self.found.backend_us = self.course.backend_us()?;
        let (logged, quiet): (Vec<Work>, Vec<Work>) = arguments.works().into_iter().partition(|work| work.is_logged());
        self.measure(&quiet, Logging::Off)?;
        self.measure(&logged, Logging::On)?;
        if arguments.wants_idle() {
            self.measure_idle()?;
        }
        Ok(())
    }

    /// Prints how to install the peers that this machine lacks.
    fn note_missing(&mut self) {
        for peer in &self.toolbox.missing {
            self.found.left_out.push((*peer, format!("not found; `{}`", tools::install(&[peer.package()]))));
        }
    }

    /// Measures workloads with newly started proxies. A proxy that fails the check is excluded from these workloads.
    fn measure(&mut self, works: &[Work], logging: Logging) -> Fallible<()> {
        if works.is_empty() {
            return Ok(());
        }
        let mut proxies = Vec::new();
        for (peer, tool) in &self.toolbox.proxies {
            (self.course.go_on)()?;
            let its_works: Vec<Work> = works.iter().copied().filter(|work| work.is_for(*peer)).collect();
            if its_works.is_empty() {
                continue;
            }
            match self.checked((*peer, tool), &its_works, logging, proxies.first()) {
                Ok(proxy) => proxies.push(proxy),
                Err(reason) => {
                    eprintln!("{} is left out: {reason}", peer.name());
                    self.found.left_out.push((*peer, reason.to_string()));
                }
            }
        }
        if !proxies.iter().any(|proxy| proxy.peer == Peer::Forebay) {
            return Err("forebay does not do its work".into());
        }
        for work in works {
            eprint!("{}. {} ", work.letter(), work.title());
            let proxies: Vec<&Proxy> = proxies.iter().filter(|proxy| work.is_for(proxy.peer)).collect();
            let row = self.course.measure(*work, &proxies)?;
            self.found.rows.push(row);
        }
        Ok(())
    }

    /// Measures idle connections, each proxy alone and newly started.
    fn measure_idle(&mut self) -> Fallible<()> {
        let count = idle::connections(self.files_max);
        self.found.idle_connections = count;
        eprint!("i. memory for an idle connection ");
        for (peer, tool) in &self.toolbox.proxies {
            (self.course.go_on)()?;
            // Fields have no effect here; the floor only keeps the socket.
            let is_measured = !peer.sends_same_fields() && *peer != Peer::Floor;
            if !is_measured || self.found.left_out.iter().any(|(one, _)| one == peer) {
                continue;
            }
            let proxy = Proxy::start(*peer, tool, self.setting, Logging::Off);
            let kib = proxy.and_then(|proxy| {
                self.keep_configuration(&proxy, Logging::Off);
                idle::kib_for_one(&proxy, count)
            });
            self.found.idle.push((*peer, kib.map_err(|error| error.to_string())));
            eprint!(".");
        }
        eprintln!();
        Ok(())
    }

    /// Starts a proxy and checks its workloads; `forebay`, which was started first, defines the expected fields.
    fn checked(
        &mut self,
        (peer, tool): (Peer, &Tool),
        works: &[Work],
        logging: Logging,
        forebay: Option<&Proxy>,
    ) -> Fallible<Proxy> {
        let proxy = Proxy::start(peer, tool, self.setting, logging)?;
        for work in works {
            check::check(*work, &proxy, self.course.backend)?;
        }
        if let Some(forebay) = forebay.filter(|_| peer.sends_same_fields()) {
            check::sends_as_much(&proxy, forebay, works)?;
        }
        self.keep_configuration(&proxy, logging);
        Ok(proxy)
    }

    /// Adds a configuration to the report; after a restart of a proxy only the port differs.
    fn keep_configuration(&mut self, proxy: &Proxy, logging: Logging) {
        let (name, text) = &proxy.configuration;
        if text.is_empty() {
            return;
        }
        let name = match logging {
            Logging::Off => name.clone(),
            Logging::On => format!("logging-{name}"),
        };
        if !self.configurations.iter().any(|(kept, _)| *kept == name) {
            self.configurations.push((name, text.clone()));
        }
    }
}
