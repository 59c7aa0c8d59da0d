//! A remote that answers, but not as soon as containers wait for it.

use std::process::Stdio;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::*;

const LATE: Duration = Duration::from_millis(2_500);

impl World {
    /// From now on the branch is asked for there.
    async fn remote_is_slow(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/site.git", listener.local_addr().unwrap());
        let bare = self.folder.path().join("site.git");
        let router =
            Router::new().fallback(move |uri: Uri, asked: Bytes| upload_pack(bare.clone(), uri, asked));
        tokio::spawn(serve(listener, router, Limits::default(), CancellationToken::new()));
        let remote = Remote::new(&url, "main", Auth::None).unwrap();
        self.reconciler.mirror = Mirror::open(&self.folder.path().join("mirror"), remote).unwrap();
    }
}

async fn upload_pack(bare: PathBuf, uri: Uri, asked: Bytes) -> impl IntoResponse {
    let mut git = Command::new("git");
    git.args(["upload-pack", "--stateless-rpc"]);
    let (head, kind) = match uri.path().ends_with("/info/refs") {
        true => {
            tokio::time::sleep(LATE).await;
            git.arg("--advertise-refs");
            ("001e# service=git-upload-pack\n0000", "advertisement")
        }
        false => ("", "result"),
    };
    let mut git = git.arg(bare).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    git.stdin.take().unwrap().write_all(&asked).await.unwrap();
    let said = git.wait_with_output().await.unwrap().stdout;
    let kind = format!("application/x-git-upload-pack-{kind}");
    ([(CONTENT_TYPE, kind)], [head.as_bytes(), &said].concat())
}

#[tokio::test]
async fn a_rollback_that_cannot_be_done_gives_way_also_where_the_remote_takes_long() {
    let mut world = World::with_two_releases().await;
    world.order(BACK).await;
    assert!(matches!(world.target().await, Target::Pinned(_)));
    world.remote_is_slow().await;
    world.push("mended");
    world.woken(pushed()).await;
    assert_eq!(world.target().await, Target::Branch);
}
