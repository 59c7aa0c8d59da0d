//! What a value's form alone does not show: bounds, and what must or must not stand together.

mod outside;

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::forges;
use super::listen::overlap;
use super::mask::is_secret;
use super::remote::{self, Transport, transport};
use super::sections::{Build, Nginx, Policy, Roll, Source, Stack};
use super::stripe::{Stripe, is_name};
use super::{Config, SecretFile};
use crate::model::cron;
use crate::model::forge::Forge;

/// Something that cannot run, and the key to mend.
pub(super) struct Refusal {
    pub(super) key: Cow<'static, str>,
    pub(super) message: String,
    pub(super) hint: String,
}

struct Refusals(Vec<Refusal>);

impl Refusals {
    fn unless(
        &mut self,
        fine: bool,
        key: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if !fine {
            self.0.push(Refusal { key: key.into(), message: message.into(), hint: hint.into() });
        }
    }
}

pub(super) fn refusals(config: &Config) -> Vec<Refusal> {
    let mut out = Refusals(Vec::new());
    stack(&config.stack, &mut out);
    source(&config.source, &mut out);
    signing_in(&config.source, &mut out);
    wakes(config, &mut out);
    let hint = "write a long random text into a file (`openssl rand -hex 24`) and name it here";
    let shown = config.dashboard.listen.is_some() || config.dashboard.publish.is_some();
    out.unless(
        !shown || config.dashboard.token_file.is_some(),
        "dashboard.token_file",
        "the dashboard would be open to everybody",
        hint,
    );
    outside::outside(config, &mut out);
    build(&config.build, &mut out);
    roll(&config.roll, &mut out);
    nginx(&config.nginx, &mut out);
    stripe(&config.stripe, &mut out);
    published(config, &mut out);
    listens(config, &mut out);
    policy(&config.policy, &mut out);
    paths(config, &mut out);
    let socket = config.engine.socket.as_deref().unwrap_or("/");
    let path = socket.strip_prefix("unix://").unwrap_or(socket);
    out.unless(
        path.starts_with('/'),
        "engine.socket",
        format!("`{socket}` is not a socket on this machine"),
        "write an absolute path such as \"/var/run/docker.sock\"; an engine is reached through its Unix socket only",
    );
    let kept = "at least 1 is needed, the one that runs";
    out.unless(config.history.keep >= 1, "history.keep", "no release would be kept", kept);
    let enough = config.history.runs >= config.history.keep;
    let hint = format!("write at least {}, as history.keep says", config.history.keep);
    out.unless(enough, "history.runs", "fewer runs than releases would be kept", hint);
    positive(config.history.logs, "history.logs", &mut out);
    out.0
}

fn positive(time: Duration, key: &'static str, out: &mut Refusals) {
    out.unless(!time.is_zero(), key, "no time at all", "write more than \"0s\"");
}

/// What of the agent's own nginx passes on.
fn published(config: &Config, out: &mut Refusals) {
    let (webhooks, dashboard) = (config.webhook.publish.as_ref(), config.dashboard.publish.as_ref());
    for (key, own) in [("webhook.publish", webhooks), ("dashboard.publish", dashboard)] {
        let clash = own.is_some_and(|own| own.listen == config.nginx.generation_port);
        let hint = "publish it on another port; 80 is the default";
        out.unless(!clash, key, "this is the port of nginx.generation_port", hint);
        let many = own.and_then(|own| own.host.as_deref()).is_some_and(|host| host.starts_with('*'));
        let hint = "write one host, such as agent.example.com/";
        out.unless(
            !many,
            key,
            "a service could have a route at one of these hosts, and take what comes there",
            hint,
        );
    }
    let same = webhooks.zip(dashboard).is_some_and(|(webhooks, dashboard)| webhooks.meets(dashboard));
    let hint = "give it a path or a host of its own, such as agent.example.com/";
    out.unless(!same, "dashboard.publish", "the webhooks are published there", hint);
}

/// No two things can be at one address.
fn listens(config: &Config, out: &mut Refusals) {
    let all = config.listens();
    for (index, one) in all.iter().enumerate() {
        for before in all[..index].iter().filter(|before| overlap(before.at, one.at)) {
            let message = format!("the address of {} already, {}", before.key, before.at);
            out.unless(false, one.key, message, "give it another port");
        }
    }
}

fn stack(stack: &Stack, out: &mut Refusals) {
    let name = stack.name.as_str();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    let fine = name.bytes().all(plain) && !name.starts_with(['-', '_']) && name.len() <= 63;
    let hint = "write name = \"shop\" under [stack]: containers, networks and volumes begin with it";
    out.unless(!name.is_empty(), "stack.name", "the stack has no name", hint);
    let hint = "use lower-case letters, digits, `-` and `_`, beginning with a letter or digit, at most 63";
    out.unless(fine, "stack.name", format!("`{name}` is not a project name"), hint);
    let hint = "name at least one compose file, relative to the repository's root";
    out.unless(!stack.compose.is_empty(), "stack.compose", "there is no compose file", hint);
    for file in &stack.compose {
        let inside = !file.is_empty() && !file.starts_with('/') && !file.split('/').any(|part| part == "..");
        let hint = "name a file of the repository, relative to its root: \"stack/compose.yaml\"";
        out.unless(inside, "stack.compose", format!("`{file}` is not inside the repository"), hint);
    }
    for profile in &stack.profiles {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let fine = profile.bytes().all(plain) && profile.starts_with(|c: char| c.is_ascii_alphanumeric());
        let hint = "use letters, digits, `.`, `_` and `-`";
        out.unless(fine, "stack.profiles", format!("`{profile}` is not a profile's name"), hint);
    }
}

fn source(source: &Source, out: &mut Refusals) {
    let key = "source.url";
    let hint = "write url = \"https://github.com/you/shop.git\" under [source]";
    out.unless(!source.url.is_empty(), key, "there is no repository to watch", hint);
    let hint = "write https://HOST/PATH, ssh://git@HOST/PATH, git@HOST:PATH, or file:///PATH";
    let known = source.url.is_empty() || transport(&source.url).is_some();
    out.unless(known, key, format!("`{}` is not an address the agent can fetch from", source.url), hint);
    let signed = remote::userinfo(&source.url).is_some_and(|user| match transport(&source.url) {
        Some(Transport::Ssh) => user.contains(':'),
        _ => true,
    });
    let hint = "write the token into a file and name it with source.token_file; the user is source.username";
    out.unless(!signed, key, "the address holds a secret", hint);
    let branch = source.branch.as_str();
    let hint = "write the name alone, such as \"main\", without refs/heads/";
    out.unless(is_branch(branch), "source.branch", format!("`{branch}` is not a branch's name"), hint);
    let fine = !source.username.is_empty() && !source.username.contains([':', '\n']);
    let hint = "it is sent before a colon, so it has none; GitHub takes any, \"x-access-token\" is usual";
    out.unless(fine, "source.username", "this cannot be a user's name", hint);
    positive(source.connect_timeout, "source.connect_timeout", out);
    positive(source.read_timeout, "source.read_timeout", out);
}

/// Git's rules for the names of references, as far as a branch's own name goes.
fn is_branch(name: &str) -> bool {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !name.contains(bad)
        && name.split('/').all(part)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.starts_with("refs/")
        && !name.ends_with('.')
}

fn signing_in(source: &Source, out: &mut Refusals) {
    let Some(transport) = transport(&source.url) else { return };
    let web = matches!(transport, Transport::Https | Transport::Http);
    let ssh = transport == Transport::Ssh;
    let unused = |what| format!("{what}, but source.url is another kind of address");
    let hint = "remove it, or change source.url";
    out.unless(web || source.token_file.is_none(), "source.token_file", unused("a token is for https"), hint);
    out.unless(web || source.ca_file.is_none(), "source.ca_file", unused("an authority is for https"), hint);
    out.unless(ssh || source.ssh_key_file.is_none(), "source.ssh_key_file", unused("a key is for ssh"), hint);
    let hint = "name the deploy key's private half: ssh_key_file = \"/etc/agent/deploy_key\"";
    let key = source.ssh_key_file.is_some();
    out.unless(!ssh || key, "source.ssh_key_file", "an ssh address needs a deploy key", hint);
    for host_key in &source.ssh_host_keys {
        let digest = host_key.strip_prefix("SHA256:").unwrap_or("");
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
        let hint =
            "write it as `ssh-keyscan HOST | ssh-keygen -lf -` prints it: \"SHA256:\" and 43 characters";
        let fine = digest.len() == 43 && digest.bytes().all(base64);
        out.unless(fine, "source.ssh_host_keys", format!("`{host_key}` is not a key's fingerprint"), hint);
    }
    // Without a pinned key whoever answers in the host's place chooses what runs here.
    let pinned = !source.ssh_host_keys.is_empty() || source.ssh_known_hosts.is_some();
    let hint =
        "pin it with ssh_host_keys = [\"SHA256:…\"] (your forge publishes them) or with ssh_known_hosts";
    out.unless(!ssh || pinned, "source.ssh_host_keys", "the host's key is not pinned", hint);
}

fn wakes(config: &Config, out: &mut Refusals) {
    if let Some(schedule) = config.poll.schedule()
        && let Err(error) = cron::parse(schedule)
    {
        out.unless(false, "poll.schedule", error.to_string(), error.hint());
    }
    let hint = "keep it below \"1h\": it only spreads the polls of many machines";
    let short = config.poll.jitter < Duration::from_secs(3600);
    out.unless(short, "poll.jitter", "so long a jitter would skip polls", hint);
    for forge in Forge::ALL {
        hook(config, forge, out);
    }
}

fn hook(config: &Config, forge: Forge, out: &mut Refusals) {
    let (hook, keys) = (config.webhook.forge(forge), forges::keys(forge));
    let named = hook.repository.as_deref().is_none_or(|name| remote::is_repository(name, forge));
    let hint = format!("write it as {forge} does: \"{}\"", remote::form(forge));
    out.unless(named, keys.repository, "this is not a repository's name", hint.clone());
    let known = hook.secret_files.is_empty() || config.repository(forge).is_some();
    out.unless(known, keys.repository, "the repository's name cannot be told from source.url", hint);
}

fn build(build: &Build, out: &mut Refusals) {
    let hint = "write 1 for one after the other";
    out.unless((1..=64).contains(&build.parallel), "build.parallel", "between 1 and 64 builds can run", hint);
    positive(build.timeout, "build.timeout", out);
}

fn roll(roll: &Roll, out: &mut Refusals) {
    positive(roll.health_timeout, "roll.health_timeout", out);
    positive(roll.one_shot_timeout, "roll.one_shot_timeout", out);
    let calm = roll.probe_interval >= Duration::from_millis(5);
    let hint = "write at least \"5ms\"; the default is \"30ms\"";
    out.unless(calm, "roll.probe_interval", "probes this close would be a load of their own", hint);
    positive(roll.probe_timeout, "roll.probe_timeout", out);
    let hint = "keep it below roll.health_timeout, which ends the wait";
    let within = roll.settle < roll.health_timeout;
    out.unless(within, "roll.settle", "nothing could settle before the wait is over", hint);
    let hint = "keep it at one hour or less: every change waits for it";
    let bounded = roll.drain <= Duration::from_secs(3600);
    out.unless(bounded, "roll.drain", "old instances would stay for very long", hint);
    let hint = "keep it at one day or less; \"0s\" watches nothing";
    let bounded = roll.watch <= Duration::from_secs(24 * 3600);
    out.unless(bounded, "roll.watch", "what goes wrong so late is not the roll's doing", hint);
}

fn nginx(nginx: &Nginx, out: &mut Refusals) {
    let hint = "write a port that no route listens on; the default is 8099";
    out.unless(nginx.generation_port != 0, "nginx.generation_port", "0 is no port to ask at", hint);
    for proxy in &nginx.trusted_proxies {
        let message = format!("`{proxy}` is neither an address nor a network");
        let hint = "write for example \"192.0.2.7\" or \"10.0.0.0/8\"";
        out.unless(is_network(proxy), "nginx.trusted_proxies", message, hint);
    }
    positive(nginx.shutdown_timeout, "nginx.shutdown_timeout", out);
}

fn is_network(text: &str) -> bool {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = |length: &str| length.bytes().all(|b| b.is_ascii_digit());
    length.is_none_or(|length| digits(length) && length.parse::<u8>().is_ok_and(|bits| bits <= longest))
}

fn stripe(stripe: &Stripe, out: &mut Refusals) {
    let day = Duration::from_secs(24 * 60 * 60);
    let hint =
        "write at least \"1d\": Stripe repeats itself for three days, and repeats are known by what is kept";
    out.unless(stripe.keep >= day, "stripe.keep", "so short a time would keep next to nothing", hint);
    let hint = "write at least \"16m\"";
    out.unless(stripe.max_size.0 >= 16 << 20, "stripe.max_size", "so little would soon be full", hint);
    let sane = !stripe.tolerance.is_zero() && stripe.tolerance <= Duration::from_secs(3600);
    let hint = "write more than \"0s\" and at most \"1h\"; Stripe's own libraries take \"5m\"";
    out.unless(sane, "stripe.tolerance", "old events could be sent again, or none be on time", hint);
    for name in stripe.endpoints.keys() {
        let hint = "use lower-case letters, digits, `-` and `_`, at most 40: it is part of the address";
        let message = format!("`{name}` is not an endpoint's name");
        out.unless(is_name(name), format!("stripe.endpoints.{name}"), message, hint);
    }
}

fn policy(policy: &Policy, out: &mut Refusals) {
    for path in &policy.allow_host_paths {
        let key = "policy.allow_host_paths";
        let plain = path.starts_with('/') && !path.split('/').any(|part| part == "..");
        let hint = "write an absolute path without `..`; it allows all that is below it";
        out.unless(plain, key, format!("`{path}` is not an absolute path"), hint);
        let hint = "name the folders that are needed; / would be every file of the machine";
        out.unless(!plain || !path.trim_matches('/').is_empty(), key, "this allows everything", hint);
    }
    for name in &policy.allow_capabilities {
        let plain = name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') && !name.is_empty();
        let fine = plain && !name.starts_with("CAP_") && name != "ALL";
        let hint = "write the name in capitals without CAP_, such as \"NET_ADMIN\"; ALL cannot be allowed";
        out.unless(fine, "policy.allow_capabilities", format!("`{name}` is not a capability's name"), hint);
    }
    for device in &policy.allow_devices {
        let fine = device.starts_with("/dev/") && !device.split('/').any(|part| part == "..");
        let hint = "write its path, such as \"/dev/dri\"";
        out.unless(fine, "policy.allow_devices", format!("`{device}` is not a device"), hint);
    }
}

fn paths(config: &Config, out: &mut Refusals) {
    let plain = [
        ("state", Some(&config.state)),
        ("source.ssh_known_hosts", config.source.ssh_known_hosts.as_ref()),
        ("source.ca_file", config.source.ca_file.as_ref()),
        ("nginx.folder", config.nginx.folder.as_ref()),
        ("nginx.template", config.nginx.template.as_ref()),
        ("gates.signed_by", config.gates.signed_by.as_ref()),
    ];
    for (key, path) in plain.into_iter().filter_map(|(key, path)| Some((key, path?))) {
        one_path(key.into(), path, out);
    }
    for (key, secret) in config.secrets() {
        match secret {
            SecretFile::File(path) => one_path(key, path, out),
            SecretFile::Credential(name) => {
                let fine = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
                let hint = "write credential:NAME with the NAME of the unit's LoadCredential=";
                out.unless(fine, key, format!("`{name}` is not a credential's name"), hint);
            }
        }
    }
}

fn one_path(key: Cow<'static, str>, path: &Path, out: &mut Refusals) {
    let text = path.to_string_lossy();
    let hint = "write it into a file that only the agent's user may read, and name the file here";
    out.unless(!is_secret(&text), key.clone(), "this looks like the secret itself", hint);
    out.unless(!text.is_empty(), key.clone(), "this is no path", "name a file or folder");
    let hint = "write the address into a file that only the agent's user may read, and name the file here";
    out.unless(!text.contains("://"), key.clone(), "this is an address, not a path", hint);
    let hint = "write the whole path; no shell expands it here";
    out.unless(!text.starts_with('~'), key, format!("`{text}` begins with a tilde"), hint);
}
