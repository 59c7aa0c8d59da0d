//! Stripe's own libraries at both ends.

use agent::inbox::{Signing, State};

use crate::library::{BOTH, Library};
use crate::site::{HOUR, OLD_SECRET, SECRET, Site, away, destination, event, here, signed, thin};

/// What apps and Stripe agree on in these tests.
const OWN: &str = crate::site::APP_SECRET;

#[tokio::test(flavor = "multi_thread")]
async fn what_both_libraries_sign_is_kept() {
    let site = Site::open(vec![]).await;
    for library in BOTH {
        let ids: Vec<String> = (0..4).map(|n| format!("evt_{library:?}_{n}")).collect();
        let bodies = [
            event(&ids[0]),
            event(&ids[1]),
            thin(&ids[2], "v1.billing.meter.error_report_triggered"),
            event(&ids[3]).replace('\n', "\r\n\t"),
        ];
        let secrets = [SECRET, OLD_SECRET, SECRET, SECRET];
        let asked: Vec<(&str, &str, i64)> =
            secrets.iter().zip(&bodies).map(|(secret, body)| (*secret, &**body, site.now())).collect();
        for ((signature, body), id) in library.sign(&asked).iter().zip(&bodies).zip(&ids) {
            let answer = site.post_to("/webhooks/stripe", &[signature], body.as_bytes()).await;
            assert_eq!((answer.status, &*answer.text), (200, "kept\n"), "{library:?} {id}");
            assert_eq!(site.story(id).await.body, *body);
        }
    }
}

/// The agent's clock is two hours behind the machine's, on which the libraries look: what it receives then is two
/// hours old to them.
#[tokio::test(flavor = "multi_thread")]
async fn both_libraries_verify_what_is_delivered_two_hours_late() {
    for library in BOTH {
        let mut app = library.app(OWN).await;
        let mut verbatim = destination("verbatim", app.port);
        verbatim.signing = Signing::Original;
        let site = Site::with_clock(vec![destination("books", app.port), verbatim], -2 * HOUR).await;
        for service in ["books", "verbatim"] {
            site.place(service, away());
        }
        // The app has Stripe's own secret here, so that only the age can be wrong with the original signature.
        site.configure(|setup| setup.endpoints[0].secrets[0].secret = OWN.to_owned().try_into().unwrap());
        for body in [event("evt_1"), thin("evt_2", "v1.billing.meter.error_report_triggered")] {
            let signature = signed(OWN, body.as_bytes(), site.now());
            let answer = site.post_to("/webhooks/stripe", &[&signature], body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        site.pass(2 * HOUR);

        site.place("books", here());
        let mut seen = [app.next().await, app.next().await].map(|said| said["id"].to_string());
        seen.sort();
        assert_eq!(seen, ["\"evt_1\"", "\"evt_2\""], "{library:?}");
        let delivery = site.until_delivered("evt_1", "books").await;
        assert_eq!(delivery.attempts, 1);

        site.place("verbatim", here());
        let refused = app.next().await;
        assert!(refused["error"].as_str().is_some_and(|error| error.contains("tolerance")), "{refused}");
        let waiting = site.until("evt_1", "verbatim", |delivery| delivery.attempts == 1).await;
        assert_eq!(waiting.state, State::Pending, "Stripe's own signature is too old by now");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_secret_is_rotated_old_and_new_apps_verify() {
    for library in BOTH {
        let site = Site::open(vec![]).await;
        let old = site.inbox.secrets("books").await.unwrap();
        assert_eq!(old.len(), 1);
        assert_eq!(site.inbox.secrets("books").await.unwrap()[0].expose(), old[0].expose(), "asked again");
        assert!(site.inbox.rotate("books").await.unwrap());
        let both = site.inbox.secrets("books").await.unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both[1].expose(), old[0].expose());
        for (n, secret) in both.iter().enumerate() {
            let mut app = library.app(secret.expose()).await;
            let name = format!("books-{n}");
            let mut known = destination(&name, app.port);
            known.secrets.clone_from(&both);
            site.configure(|setup| setup.destinations = vec![known]);
            site.place(&name, here());
            let id = format!("evt_{n}");
            site.keep(&event(&id)).await;
            assert_eq!(app.next().await["id"], id, "{library:?}");
        }
        site.pass(25 * HOUR);
        assert_eq!(site.inbox.secrets("books").await.unwrap().len(), 1, "a day later the old one is gone");
        assert!(!site.inbox.rotate("unknown").await.unwrap(), "only what was given out is rotated");
    }
}

/// The tables of this wing are only as good as what they are compared with.
#[tokio::test(flavor = "multi_thread")]
async fn the_tests_own_signatures_are_those_of_the_libraries() {
    let body = event("evt_1");
    for library in [Library::Node, Library::Python] {
        assert_eq!(
            library.sign(&[(SECRET, &body, 1_700_000_000)]),
            [signed(SECRET, body.as_bytes(), 1_700_000_000)]
        );
    }
}
