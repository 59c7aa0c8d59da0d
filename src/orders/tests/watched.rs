//! A release that is watched: what it is watched with, where it goes back to, and what is denied then.

use super::*;
use crate::model::desired::{InPlace, Service};
use crate::model::route::Route;
use crate::record::{Watch, Watched};

/// Two releases; the second is watched.
pub(super) async fn watched(world: &World) -> (Watch, ReleaseId) {
    let (_, first) = world.release('a').await;
    let second = desired('b');
    let run = world.record.begin(Kind::Deploy, &second.revision, "a change", "a test", 1).await.unwrap();
    let watch = Some(Watched { services: ["web".to_owned()].into(), long: 60_000 });
    world.goes_live(run, Live::New { desired: &second, subject: "a change", watch }, 1_000).await;
    (world.record.watch().await.unwrap().unwrap(), first)
}

#[tokio::test]
async fn what_turns_bad_is_denied_and_gives_way_once() {
    let world = World::new().await;
    let (watch, first) = watched(&world).await;
    assert_eq!((watch.back_to, watch.since, watch.until), (first, 1_000, 61_000));
    // A later commit that asked for nothing new would bring the same back.
    let later = world.record.begin(Kind::Deploy, &revision('c'), "", "", 3).await.unwrap();
    world.record.unchanged(later, &revision('c'), 4).await.unwrap();
    assert!(world.record.go_back(&watch, Failure::default(), 5).await.unwrap());
    assert_eq!(world.record.target().await.unwrap(), Target::Back { release: first });
    for digit in ['b', 'c'] {
        let denial = world.record.denial(&revision(digit)).await.unwrap().unwrap();
        assert_eq!(denial.why, Why::WentBad { failure: Failure::default() });
    }
    assert_eq!(world.record.watch().await.unwrap(), None);
    assert!(!world.record.go_back(&watch, Failure::default(), 6).await.unwrap());

    let back = world.record.release(first).await.unwrap();
    let run = world.record.begin(Kind::Revert, &back.revision, "", "", 7).await.unwrap();
    world.goes_live(run, Live::Again(&back), 8).await;
    assert_eq!(world.record.target().await.unwrap(), Target::Branch);
    assert_eq!(world.record.watch().await.unwrap(), None, "what is brought back is not watched");
}

#[tokio::test]
async fn what_goes_live_after_one_that_turned_bad_stays_and_goes_back_to_the_good_one() {
    let world = World::new().await;
    let (watch, first) = watched(&world).await;
    // The newer one has passed its gates when the one before it turns bad.
    let newer = desired('c');
    let run = world.record.begin(Kind::Deploy, &newer.revision, "", "", 3).await.unwrap();
    assert!(world.record.go_back(&watch, Failure::default(), 4).await.unwrap());
    let watch = Some(Watched { services: ["web".to_owned()].into(), long: 60_000 });
    world.goes_live(run, Live::New { desired: &newer, subject: "", watch }, 5).await;
    assert_eq!(world.record.target().await.unwrap(), Target::Branch);
    assert_eq!(world.record.watch().await.unwrap().unwrap().back_to, first);
}

/// Each service in a version.
pub(super) fn stack(digit: char, versions: &[(&str, &str)]) -> Desired {
    let services = versions.iter().map(|(name, version)| ((*name).to_owned(), Service::plain(name, version)));
    Desired { services: services.collect(), ..desired(digit) }
}

impl World {
    /// The first release, which nobody watches.
    pub(super) async fn rolls_first(&self, desired: &Desired) {
        let run = self.record.begin(Kind::Deploy, &desired.revision, "", "", 0).await.unwrap();
        self.goes_live(run, Live::New { desired, subject: "", watch: None }, 0).await;
    }

    /// A release that rolls these services; watched for a minute.
    pub(super) async fn rolls(&self, desired: &Desired, services: &[&str], now: i64) -> Watch {
        let run = self.record.begin(Kind::Deploy, &desired.revision, "", "", now).await.unwrap();
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        let watch = Some(Watched { services, long: 60_000 });
        self.goes_live(run, Live::New { desired, subject: "", watch }, now).await;
        self.record.append(run, Entry::Ended { outcome: Outcome::Succeeded }, now).await.unwrap();
        self.record.watch().await.unwrap().unwrap()
    }

    async fn denied(&self) -> Vec<Revision> {
        let denials = self.record.denials(9).await.unwrap();
        let mut denied: Vec<Revision> = denials.into_iter().map(|denial| denial.revision).collect();
        denied.sort();
        denied
    }
}

#[tokio::test]
async fn what_goes_live_within_a_watch_is_watched_with_what_was_and_goes_back_as_far() {
    let failure = |service: &str| Failure { service: Some(service.into()), ..Failure::default() };
    for (culprit, denied) in [("web", vec!['b', 'c', 'd']), ("api", vec!['c', 'd']), ("db", vec!['d'])] {
        let world = World::new().await;
        world.rolls_first(&stack('a', &[("api", "1"), ("db", "1"), ("web", "1")])).await;
        let first = world.record.current().await.unwrap().unwrap().id;
        let b = world.rolls(&stack('b', &[("api", "1"), ("db", "1"), ("web", "2")]), &["web"], 1_000).await;
        let c = world.rolls(&stack('c', &[("api", "2"), ("db", "1"), ("web", "2")]), &["api"], 20_000).await;
        let d = world.rolls(&stack('d', &[("api", "2"), ("db", "2"), ("web", "2")]), &["db"], 40_000).await;
        assert_eq!((d.back_to, d.first, d.since, d.until), (first, Some(1_000), 40_000, 100_000));
        assert_eq!(["web", "api", "db"].map(|name| d.brought(name)), [b.run, c.run, d.run]);
        assert_eq!(d.services, ["api", "db", "web"].map(str::to_owned).into());
        assert!(world.record.go_back(&d, failure(culprit), 50_000).await.unwrap());
        assert_eq!(world.record.target().await.unwrap(), Target::Back { release: first });
        assert_eq!(world.denied().await, denied.into_iter().map(revision).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_has_stayed_well_for_as_long_is_gone_back_to_though_more_came_within_its_watch() {
    let failure = |service: &str| Failure { service: Some(service.into()), ..Failure::default() };
    for (culprit, at, back) in [("db", 90_000, 2), ("db", 101_000, 3), ("api", 101_000, 2)] {
        let world = World::new().await;
        world.rolls_first(&stack('a', &[("api", "1"), ("db", "1"), ("web", "1")])).await;
        world.rolls(&stack('b', &[("api", "1"), ("db", "1"), ("web", "2")]), &["web"], 1_000).await;
        let c = world.rolls(&stack('c', &[("api", "2"), ("db", "1"), ("web", "2")]), &["api"], 40_000).await;
        assert_eq!((c.back_to, c.first), (ReleaseId(1), Some(1_000)));
        // The second is good by now, and nobody goes back behind it.
        let d = world.rolls(&stack('d', &[("api", "2"), ("db", "2"), ("web", "2")]), &["db"], 80_000).await;
        assert_eq!((d.back_to, d.first, d.until), (ReleaseId(2), Some(40_000), 140_000));
        assert_eq!(d.unproven.keys().collect::<Vec<_>>(), ["api", "db"]);
        assert!(world.record.go_back(&d, failure(culprit), at).await.unwrap());
        assert_eq!(
            world.record.target().await.unwrap(),
            Target::Back { release: ReleaseId(back) },
            "{culprit}"
        );
    }
}

#[tokio::test]
async fn what_has_stayed_well_is_where_the_next_release_goes_back_to_whatever_that_one_changes() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("web", "1")])).await;
    world.rolls(&stack('b', &[("api", "1"), ("web", "2")]), &["web"], 1_000).await;
    world.rolls(&stack('c', &[("api", "2"), ("web", "2")]), &["api"], 40_000).await;
    let d = world.rolls(&stack('d', &[("api", "2"), ("web", "3")]), &["web"], 80_000).await;
    assert_eq!(d.back_to, ReleaseId(2));
}

#[tokio::test]
async fn what_has_stayed_well_and_is_the_same_since_is_no_affair_of_the_next_release() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("db", "1"), ("web", "1")])).await;
    world.rolls(&stack('b', &[("api", "1"), ("db", "1"), ("web", "2")]), &["web"], 1_000).await;
    world.rolls(&stack('c', &[("api", "2"), ("db", "1"), ("web", "2")]), &["api"], 40_000).await;
    let d = world.rolls(&stack('d', &[("api", "2"), ("db", "2"), ("web", "2")]), &["db"], 80_000).await;
    assert_eq!((d.back_to, d.services), (ReleaseId(2), ["api", "db"].map(str::to_owned).into()));
}

#[tokio::test]
async fn what_was_replaced_before_it_had_stayed_well_for_as_long_is_not_gone_back_to() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("web", "1")])).await;
    world.rolls(&stack('b', &[("api", "1"), ("web", "2")]), &["web"], 1_000).await;
    let c = world.rolls(&stack('c', &[("api", "1"), ("web", "3")]), &["web"], 30_000).await;
    assert!(world.record.go_back(&c, Failure::default(), 70_000).await.unwrap());
    assert_eq!(world.record.target().await.unwrap(), Target::Back { release: ReleaseId(1) });

    // Nor is it where the next release would go back to.
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("web", "1")])).await;
    world.rolls(&stack('b', &[("api", "1"), ("web", "2")]), &["web"], 1_000).await;
    world.rolls(&stack('c', &[("api", "1"), ("web", "3")]), &["web"], 30_000).await;
    let d = world.rolls(&stack('d', &[("api", "2"), ("web", "3")]), &["api"], 70_000).await;
    assert_eq!(d.back_to, ReleaseId(1));
}

#[tokio::test]
async fn what_led_elsewhere_or_showed_other_content_until_a_moment_ago_is_not_gone_back_to() {
    let content = |of: &str| {
        let (target, folder) = ("/site".into(), "/files/site".into());
        InPlace { target, folder, content: format!("/files/{of}"), signal: None }
    };
    let other_route: fn(&mut Desired) = |b| b.routes[0].port = 9_000;
    let other_content: fn(&mut Desired) =
        |b| b.services.get_mut("web").unwrap().in_place[0].content.push('x');
    for mistake in [other_route, other_content] {
        let with = |digit, api| {
            let mut desired = stack(digit, &[("api", api), ("web", "1")]);
            desired.routes.push(Route::plain("web", "/"));
            desired.services.get_mut("web").unwrap().in_place.push(content("good"));
            desired
        };
        let world = World::new().await;
        world.rolls_first(&with('a', "1")).await;
        let mut b = with('b', "1");
        mistake(&mut b);
        world.rolls(&b, &["web"], 1_000).await;
        let c = world.rolls(&with('c', "2"), &["api", "web"], 30_000).await;
        let failure = Failure { service: Some("api".into()), ..Failure::default() };
        assert!(world.record.go_back(&c, failure, 70_000).await.unwrap());
        assert_eq!(world.record.target().await.unwrap(), Target::Back { release: ReleaseId(1) });
    }
}

#[tokio::test]
async fn what_was_live_in_turns_has_not_stayed_well() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("web", "1")])).await;
    world.rolls(&stack('b', &[("web", "2")]), &["web"], 1_000).await;
    world.rolls(&stack('c', &[("web", "3")]), &["web"], 30_000).await;
    let d = world.rolls(&stack('d', &[("web", "2")]), &["web"], 40_000).await;
    assert!(world.record.go_back(&d, Failure::default(), 70_000).await.unwrap());
    assert_eq!(world.record.target().await.unwrap(), Target::Back { release: ReleaseId(1) });
}

#[tokio::test]
async fn nobody_goes_back_to_what_has_the_bad_version_though_the_release_that_brought_it_is_forgotten() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("db", "1"), ("web", "1")])).await;
    let good = world.record.current().await.unwrap().map(|release| release.id);
    world.rolls(&stack('b', &[("api", "1"), ("db", "1"), ("web", "2")]), &["web"], 1_000).await;
    world.rolls(&stack('c', &[("api", "2"), ("db", "1"), ("web", "2")]), &["api"], 5_000).await;
    let d = world.rolls(&stack('d', &[("api", "2"), ("db", "2"), ("web", "2")]), &["db"], 40_000).await;
    world.record.prune_releases(2, good).await.unwrap();
    let failure = Failure { service: Some("web".into()), ..Failure::default() };
    assert!(world.record.go_back(&d, failure, 70_000).await.unwrap());
    assert_eq!(world.record.target().await.unwrap(), Target::Back { release: ReleaseId(1) });
}

#[tokio::test]
async fn a_release_that_cannot_be_read_is_not_gone_back_to_and_keeps_nothing_from_going_back() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("web", "1")])).await;
    world.rolls(&stack('b', &[("api", "1"), ("web", "2")]), &["web"], 1_000).await;
    let c = world.rolls(&stack('c', &[("api", "2"), ("web", "2")]), &["api"], 30_000).await;
    let sql = rusqlite::Connection::open(world._folder.path().join("agent.db")).unwrap();
    sql.execute("UPDATE releases SET desired = '{' WHERE id = 2", []).unwrap();
    let failure = Failure { service: Some("api".into()), ..Failure::default() };
    assert!(world.record.go_back(&c, failure, 70_000).await.unwrap());
    assert_eq!(world.record.target().await.unwrap(), Target::Back { release: ReleaseId(1) });
}

#[tokio::test]
async fn a_change_that_rolls_nothing_is_laid_to_the_release_that_made_it() {
    let failure = || Failure { service: Some("web".into()), ..Failure::default() };
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("web", "1")])).await;
    // Another route, or other content in a mounted folder.
    let b = world.rolls(&stack('b', &[("api", "1"), ("web", "1")]), &["web"], 1_000).await;
    let c = world.rolls(&stack('c', &[("api", "2"), ("web", "1")]), &["api"], 30_000).await;
    assert_eq!(["web", "api"].map(|name| c.brought(name)), [b.run, c.run]);
    assert!(world.record.go_back(&c, failure(), 70_000).await.unwrap());
    assert_eq!(world.record.target().await.unwrap(), Target::Back { release: ReleaseId(1) });
    assert_eq!(world.denied().await, [revision('b'), revision('c')]);

    // Where it has stayed well for as long, it is good.
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("web", "1")])).await;
    world.rolls(&stack('b', &[("api", "1"), ("web", "1")]), &["web"], 1_000).await;
    world.rolls(&stack('c', &[("api", "2"), ("web", "1")]), &["api"], 30_000).await;
    let d = world.rolls(&stack('d', &[("api", "3"), ("web", "1")]), &["api"], 70_000).await;
    assert!(world.record.go_back(&d, failure(), 80_000).await.unwrap());
    assert_eq!(world.record.target().await.unwrap(), Target::Back { release: ReleaseId(2) });
    assert_eq!(world.denied().await, [revision('d')]);
}

#[tokio::test]
async fn of_two_releases_of_a_revision_the_good_one_is_a_way_back() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("web", "1")])).await;
    let good = world.record.current().await.unwrap().unwrap().id;
    // The same with another `env_file`.
    let edited = world.rolls(&stack('a', &[("web", "2")]), &["web"], 1_000).await;
    assert!(world.record.go_back(&edited, Failure::default(), 2_000).await.unwrap());
    world.is_back_at(good).await;
    world.rolls(&stack('b', &[("web", "3")]), &["web"], 90_000).await;
    assert!(world.obey(BACK).await.unwrap().starts_with("going back to release 1 (aaaaaaaaaa)"));
}

#[tokio::test]
async fn what_a_run_has_brought_back_is_told_though_a_newer_release_has_its_revision() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("web", "1")])).await;
    let good = world.record.current().await.unwrap().unwrap().id;
    // The same with another `env_file`.
    world.rolls(&stack('a', &[("web", "2")]), &["web"], 1_000).await;
    world.is_back_at(good).await;
    let back = world.record.runs(1).await.unwrap().remove(0).id;
    world.record.append(back, Entry::Ended { outcome: Outcome::Succeeded }, 5).await.unwrap();
    let (back, releases) = (world.record.run(back).await.unwrap(), world.record.releases().await.unwrap());
    assert_eq!(crate::overview::outcome(&back, &releases), "release 1");
}

#[tokio::test]
async fn a_watch_that_came_to_its_end_or_was_broken_off_is_no_affair_of_the_next_release() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("web", "1")])).await;
    let b = world.rolls(&stack('b', &[("api", "1"), ("web", "2")]), &["web"], 1_000).await;
    world.record.end_watch(b.run).await.unwrap();
    let good = world.record.current().await.unwrap().unwrap().id;
    let c = world.rolls(&stack('c', &[("api", "2"), ("web", "2")]), &["api"], 20_000).await;
    let only_api = |watch: &Watch, back_to| {
        assert_eq!(
            (watch.back_to, watch.first, &watch.services),
            (back_to, None, &["api".to_owned()].into())
        );
        assert_eq!(watch.unproven, [("api".to_owned(), watch.run)].into());
    };
    only_api(&c, good);
    world.obey(BACK).await.unwrap();
    world.is_back_at(good).await;
    world.obey(Order::Resume).await.unwrap();
    only_api(&world.rolls(&stack('d', &[("api", "3"), ("web", "2")]), &["api"], 30_000).await, good);
}

#[tokio::test]
async fn what_a_run_that_was_cut_off_has_left_live_is_watched_with_the_release_that_goes_on_from_there() {
    let world = World::new().await;
    world.rolls_first(&stack('a', &[("api", "1"), ("web", "1")])).await;
    let watch = world.rolls(&stack('b', &[("api", "2"), ("web", "2")]), &["web"], 1_000).await;
    assert_eq!(watch.services, ["api", "web"].map(str::to_owned).into());
    assert_eq!(watch.unproven, ["api", "web"].map(|name| (name.to_owned(), watch.run)).into());
}

#[tokio::test]
async fn a_watch_that_an_older_agent_began_is_gone_on_with() {
    let world = World::new().await;
    let (watch, first) = watched(&world).await;
    let old = serde_json::json!({
        "run": watch.run, "back_to": first, "services": ["web"], "since": 1_000, "until": 61_000,
    });
    world.record.set_fact("watch", &old).await.unwrap();
    assert_eq!(world.record.watch().await.unwrap(), Some(Watch { touched: [].into(), ..watch }));
}

#[tokio::test]
async fn a_person_who_rolls_back_ends_the_watch() {
    let world = World::new().await;
    let (watch, _) = watched(&world).await;
    world.obey(BACK).await.unwrap();
    assert!(!world.record.go_back(&watch, Failure::default(), 5).await.unwrap());
    assert!(matches!(world.record.target().await.unwrap(), Target::Pinned(_)));
}
