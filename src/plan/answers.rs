//! Server errors, counted from nginx's own log: does a service answer worse than it did before the switch? Pure.
//!
//! What a client broke off (499) says nothing of the service and is not counted at all. Nor is an answer of an old
//! instance: what it leaves unfinished when its time to drain is over ends as an error, and is not the new one's. Nor is
//! what has waited at the agent, which may have been cut off there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use chrono::DateTime;
use serde::Deserialize;

/// For so many seconds each worker of nginx may go on to take an instance for down that is there again.
const FOUND: i64 = 3;
/// Seconds, as long as what is judged at once, and what it is compared with.
const WINDOW: i64 = 10;
const BEFORE: i64 = 60;
/// Fewer answers than these say little, however bad their share.
const LEAST_ANSWERS: usize = 10;
const LEAST_ERRORS: usize = 5;
/// Percent.
const LEAST_SHARE: usize = 20;
/// How many times the share of before.
const JUMP: usize = 2;

/// One answer, as nginx logged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Seconds since the Unix epoch.
    pub at: i64,
    /// When it was asked for.
    pub asked: i64,
    pub service: String,
    pub error: bool,
    /// The instance that was asked last; none when nginx had nobody to ask.
    pub instance: Option<Ipv4Addr>,
}

#[derive(Deserialize)]
struct Line {
    time: String,
    service: String,
    status: String,
    #[serde(default)]
    seconds: String,
    #[serde(default)]
    upstream: String,
}

impl Answer {
    /// From a line of the built-in template's access log; `None` for any other line, and for what does not count.
    pub fn read(line: &str) -> Option<Self> {
        let line: Line = serde_json::from_str(line).ok()?;
        let status: u16 = line.status.parse().ok()?;
        let at = DateTime::parse_from_rfc3339(&line.time).ok()?.timestamp();
        // `10.0.0.2:80, 10.0.0.3:80` when a second instance was tried.
        let last = line.upstream.rsplit([',', ' ']).next().unwrap_or_default();
        if last.starts_with("unix:") {
            return None;
        }
        let instance = last.split(':').next().and_then(|address| address.parse().ok());
        let asked = at - line.seconds.parse::<f64>().map_or(0, |seconds| seconds.round() as i64);
        (status != 499).then_some(Self { at, asked, service: line.service, error: status >= 500, instance })
    }
}

/// Whether a template of an operator's own writes these lines.
pub fn are_told_by(template: &str) -> bool {
    let fields = [r#""time":"$time_iso8601""#, r#""service":"$agent_service""#, r#""status":"$status""#];
    fields.iter().all(|field| template.contains(field))
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    answers: usize,
    errors: usize,
}

impl Share {
    fn add(&mut self, error: bool) {
        self.answers += 1;
        self.errors += usize::from(error);
    }

    /// Whole percent.
    fn percent(self) -> usize {
        (self.errors * 100).checked_div(self.answers).unwrap_or(0)
    }
}

/// The answers of some services around a switch.
#[derive(Debug)]
pub struct Tally {
    /// Seconds since the Unix epoch, as is all of time here.
    switched: i64,
    /// Until then those answered who are known to be good.
    good: i64,
    services: BTreeSet<String>,
    before: BTreeMap<String, Share>,
    since: BTreeMap<String, VecDeque<Answer>>,
    /// When each was last seen to answer well, by what is older than the window.
    well: BTreeMap<String, i64>,
}

impl Tally {
    /// `switched_at`: when requests began to go to new instances; `good_until`: when the first of these went live that
    /// are not known to be good. In milliseconds since the Unix epoch.
    pub fn new(services: impl IntoIterator<Item = String>, good_until: i64, switched_at: i64) -> Self {
        Self {
            switched: switched_at / 1000,
            good: good_until.min(switched_at) / 1000,
            services: services.into_iter().collect(),
            before: BTreeMap::new(),
            since: BTreeMap::new(),
            well: BTreeMap::new(),
        }
    }

    /// The last moment at which nobody can tell who answered, in seconds since the Unix epoch.
    pub fn switched(&self) -> i64 {
        self.switched
    }

    /// From where on answers are of interest, to compare with, in seconds since the Unix epoch.
    pub fn from(&self) -> i64 {
        self.good - BEFORE
    }

    /// Takes the log's next answer. `new`: the addresses that the new instances have. Returns the service and what
    /// is wrong with its answers once that is certain.
    pub fn count(&mut self, answer: &Answer, new: &BTreeSet<Ipv4Addr>) -> Option<(String, String)> {
        if !self.services.contains(&answer.service) {
            return None;
        }
        // In the second of the switch nobody can tell.
        if answer.at <= self.switched {
            if answer.at > self.from() && answer.at <= self.good {
                self.before.entry(answer.service.clone()).or_default().add(answer.error);
            }
            return None;
        }
        if answer.instance.is_some_and(|instance| !new.contains(&instance)) {
            return None;
        }
        let since = self.since.entry(answer.service.clone()).or_default();
        since.push_back(answer.clone());
        while let Some(old) = since.pop_front_if(|old| old.at <= answer.at - WINDOW) {
            if !old.error {
                self.well.insert(old.service, old.at);
            }
        }
        Some((answer.service.clone(), self.judge(&answer.service)?))
    }

    /// What is wrong with a service's answers now.
    pub fn judge(&self, service: &str) -> Option<String> {
        let mut now = Share::default();
        self.since.get(service)?.iter().for_each(|answer| now.add(answer.error));
        let before = self.before.get(service).copied().unwrap_or_default();
        jumped(now, before).then(|| told(now, before))
    }

    /// The service was stopped between these moments (milliseconds since the Unix epoch), to be replaced: its errors
    /// then, and until it answers well again, say nothing of it, nor does what was asked then and fails later.
    /// `patience`: for so many seconds after that at most.
    pub fn excuse(&mut self, service: &str, from: i64, until: Option<i64>, patience: u64) {
        let Some(since) = self.since.get_mut(service) else { return };
        let (from, until) = (from / 1000, until.map_or(i64::MAX, |until| until / 1000 + FOUND));
        let late = until.saturating_add(patience as i64);
        let mut back = self.well.get(service).is_some_and(|at| *at > until);
        since.retain(|answer| {
            back |= answer.at > late || answer.at > until && !answer.error;
            !answer.error || answer.at < from || (back && answer.asked > until)
        });
    }
}

fn jumped(now: Share, before: Share) -> bool {
    now.answers >= LEAST_ANSWERS
        && now.errors >= LEAST_ERRORS
        && now.percent() >= LEAST_SHARE
        && now.percent() >= JUMP * before.percent()
}

fn told(now: Share, before: Share) -> String {
    let was = match before.answers {
        0 => "nobody had asked it in the minute before the switch".to_owned(),
        many => format!("{} % of {many} in the minute before the switch", before.percent()),
    };
    format!(
        "{} of its {} answers within {WINDOW} s were server errors, {} % ({was})",
        now.errors,
        now.answers,
        now.percent()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWITCHED: i64 = 1_795_356_120;
    const NEW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const OLD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn answer(after: i64, error: bool, instance: Option<Ipv4Addr>) -> Answer {
        let at = SWITCHED + after;
        Answer { at, asked: at, service: "web".into(), error, instance }
    }

    /// What is said of these answers, each so many seconds after the switch.
    fn judged(answers: impl IntoIterator<Item = Answer>) -> Option<String> {
        let mut tally = Tally::new(["web".to_owned()], i64::MAX, SWITCHED * 1000 + 400);
        let new = BTreeSet::from([NEW]);
        answers.into_iter().find_map(|answer| tally.count(&answer, &new)).map(|(_, told)| told)
    }

    fn many(count: usize, after: i64, error: bool) -> impl Iterator<Item = Answer> {
        std::iter::repeat_n(answer(after, error, Some(NEW)), count)
    }

    #[test]
    fn a_jump_is_told_with_its_numbers() {
        let before = (0..40).map(|n| answer(-n, n == 7, Some(OLD)));
        let after = many(12, 1, false).chain(many(5, 3, true));
        assert_eq!(
            judged(before.chain(after)).unwrap(),
            "5 of its 17 answers within 10 s were server errors, 29 % (2 % of 40 in the minute before the switch)"
        );
        let told = judged(many(5, 1, false).chain(many(5, 2, true))).unwrap();
        assert!(told.ends_with("50 % (nobody had asked it in the minute before the switch)"), "{told}");
    }

    #[test]
    fn errors_that_were_there_before_are_no_jump() {
        let before = (0..20).map(|n| answer(-n, n % 2 == 0, Some(OLD)));
        let after = (0..40).map(|n| answer(n / 4 + 1, n % 10 < 9, Some(NEW)));
        assert_eq!(judged(before.chain(after)), None);
    }

    #[test]
    fn answers_since_the_last_good_release_are_no_measure() {
        let mut tally = Tally::new(["web".to_owned()], (SWITCHED - 5) * 1000, SWITCHED * 1000);
        let unproven = (0..5).flat_map(|n| many(5, -n, true));
        let good = (5..10).flat_map(|n| many(5, -n, false));
        let told = unproven
            .chain(good)
            .chain(many(10, 1, true))
            .find_map(|answer| tally.count(&answer, &[NEW].into()));
        assert!(told.unwrap().1.ends_with("100 % (0 % of 25 in the minute before the switch)"));
    }

    #[test]
    fn few_errors_among_many_answers_and_few_answers_at_all_are_no_jump() {
        assert_eq!(judged(many(9, 1, true)), None);
        assert_eq!(judged(many(6, 1, false).chain(many(4, 1, true))), None);
        assert_eq!(judged(many(41, 1, false).chain(many(10, 2, true))), None);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let trickle = (1..30).flat_map(|n| many(2, n, false).chain(many(usize::from(n % 4 == 0), n, true)));
        assert_eq!(judged(trickle), None);
        assert!(judged(many(100, 1, false).chain(many(10, 12, true))).is_some());
    }

    #[test]
    fn old_instances_and_other_services_do_not_count_but_nginx_itself_does() {
        assert_eq!(judged((0..50).map(|_| answer(1, true, Some(OLD)))), None);
        assert!(judged((0..10).map(|_| answer(1, true, None))).is_some());
        let other = Answer { service: "api".into(), ..answer(1, true, Some(NEW)) };
        assert_eq!(judged(std::iter::repeat_n(other, 50)), None);
    }

    #[test]
    fn what_is_not_answered_while_another_run_stops_the_service_is_excused_until_it_answers_again() {
        let mut tally = Tally::new(["web".to_owned()], i64::MAX, SWITCHED * 1000);
        let new = BTreeSet::from([NEW]);
        let count = |tally: &mut Tally, many: usize, after: i64, error: bool| {
            let mut told = (0..many).map(|_| tally.count(&answer(after, error, None), &new));
            told.find_map(|told| told)
        };
        assert_eq!(count(&mut tally, 5, 1, false), None);
        assert!(count(&mut tally, 9, 3, true).is_some());
        tally.excuse("web", (SWITCHED + 3) * 1000, None, 30);
        assert_eq!(tally.judge("web"), None);
        // It was started again and takes a while to answer.
        let over = Some((SWITCHED + 4 - FOUND) * 1000);
        count(&mut tally, 9, 6, true);
        tally.excuse("web", (SWITCHED + 3) * 1000, over, 30);
        assert_eq!(tally.judge("web"), None);
        // Once it has answered, errors are its own again, also when those answers are long ago.
        count(&mut tally, 1, 7, false);
        let late = Answer { asked: SWITCHED + 4, ..answer(8, true, None) };
        (0..9).for_each(|_| drop(tally.count(&late, &new)));
        tally.excuse("web", (SWITCHED + 3) * 1000, over, 30);
        assert_eq!(tally.judge("web"), None);
        count(&mut tally, 15, 20, true);
        tally.excuse("web", (SWITCHED + 3) * 1000, over, 30);
        assert!(tally.judge("web").is_some());
    }

    #[test]
    fn what_does_not_answer_long_after_it_was_stopped_is_bad() {
        let mut tally = Tally::new(["web".to_owned()], i64::MAX, SWITCHED * 1000);
        let over = Some((SWITCHED + 4 - FOUND) * 1000);
        let mut bad = |after: i64| {
            (0..12).for_each(|_| drop(tally.count(&answer(after, true, None), &BTreeSet::new())));
            tally.excuse("web", SWITCHED * 1000, over, 30);
            tally.judge("web").is_some()
        };
        assert_eq!([5, 20, 34, 35, 50].map(&mut bad), [false, false, false, true, true]);
    }

    #[test]
    fn the_built_in_template_tells_its_answers() {
        assert!(are_told_by(include_str!("nginx/nginx.conf.j2")));
        assert!(!are_told_by("access_log off;"));
    }

    #[test]
    fn lines_are_read_as_the_template_writes_them() {
        let line = r#"{"time":"2026-11-22T14:02:01+00:00","client":"10.0.0.9","host":"x","method":"GET","uri":"/","status":"502","bytes":"0","seconds":"0.001","service":"web","upstream":"10.0.0.1:80, 10.0.0.2:80","upstream_status":"502, 502","upstream_seconds":"0.1, 0.1"}"#;
        assert_eq!(Answer::read(line), Some(answer(1, true, Some(NEW))));
        assert_eq!(Answer::read(&line.replace("\"502\"", "\"499\"")), None);
        let nobody = Answer::read(&line.replace("10.0.0.1:80, 10.0.0.2:80", "")).unwrap();
        assert_eq!(nobody.instance, None);
        // nginx names the pool when all of its instances count as down.
        let pool = Answer::read(&line.replace("10.0.0.1:80, 10.0.0.2:80", "agent_web_80")).unwrap();
        assert_eq!(pool.instance, None);
        let room = "unix:/etc/nginx/agent/wait-10.0.0.1-80.sock";
        assert_eq!(Answer::read(&line.replace("10.0.0.1:80, 10.0.0.2:80", room)), None);
        assert_eq!(Answer::read("2026/11/22 14:02:01 [error] 30#30: connect() failed"), None);
    }
}
