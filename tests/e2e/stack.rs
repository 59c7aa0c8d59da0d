//! The stack that is deployed: two apps of two megabytes behind nginx, made to build and start at once.

use crate::git_repo::Repo;

/// Where an app tells its version.
pub(crate) const WEB: &str = "/web/version.txt";
pub(crate) const API: &str = "/api/version.txt";
pub(crate) const BOTH: &[&str] = &[WEB, API];

/// `always`: an engine that was killed takes all it finds running for stopped by a person, and `unless-stopped` stays
/// down.
pub(crate) const COMPOSE: &str = r#"
x-app: &app
  init: true
  restart: always
  stop_grace_period: 2s
services:
  nginx:
    image: nginx:1.30
    restart: always
    stop_signal: SIGQUIT
    stop_grace_period: 2s
    ports: ["127.0.0.1:${PORT}:80"]
    labels:
      agent.nginx: "true"
  web:
    <<: *app
    build: ./web
    labels:
      agent.route.port: "8000"
      agent.route.path: /web/
      agent.probe: /web/version.txt
      agent.health_timeout: 3s
  api:
    <<: *app
    build: ./api
    labels:
      agent.route.port: "8000"
      agent.route.path: /api/
      agent.probe: /api/version.txt
      agent.health_timeout: 3s
"#;

/// Serves its build context under its own name.
pub(crate) fn dockerfile(app: &str) -> String {
    format!(
        "FROM agenttest-base:1\nCOPY . /www/{app}/\nCMD [\"httpd\", \"-f\", \"-p\", \"8000\", \"-h\", \"/www\"]\n"
    )
}

/// Writes both apps, in their first version, and the compose file into the working tree.
pub(crate) fn write(repo: &Repo, compose: &str) {
    write_apps(repo, compose, &["web", "api"]);
}

/// The same for any apps; a Dockerfile that is there already stays.
pub(crate) fn write_apps(repo: &Repo, compose: &str, apps: &[&str]) {
    repo.write("compose.yaml", compose);
    for app in apps {
        if !repo.tree().join(app).join("Dockerfile").exists() {
            repo.write(&format!("{app}/Dockerfile"), dockerfile(app));
        }
        repo.write(&format!("{app}/version.txt"), format!("{app} 1\n"));
    }
}
