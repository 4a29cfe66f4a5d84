//! Another Python than the golden image's, from a mirror that the test serves: one of this host's own, packed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{repository::Repository, site::Site};

/// Where hosts of developers and of CI keep Pythons of several series, each in a directory by its version.
const KEPT: [&str; 3] = ["/root/.pyenv/versions", "/opt/pyenv/versions", "/opt/hostedtoolcache/Python"];
const PORT: u16 = 8093;

/// A mirror for `uv python install` on the network of a site's machines.
struct Mirror {
    server: Child,
    series: String,
}

impl Mirror {
    /// Packs the first Python of this host that machines do not have; none where the host has none.
    fn start(site: &Site) -> Option<Self> {
        let (home, version) = kept()?;
        let directory = site.state_dir.join("mirror");
        let python = directory.join("python");
        fs::create_dir_all(&directory).unwrap();
        run(Command::new("cp").arg("-rT").arg(&home).arg(&python));
        let series = version.rsplit_once('.').unwrap().0.to_owned();
        for unused in ["test", "ensurepip", "idlelib"] {
            let _ = fs::remove_dir_all(python.join(format!("lib/python{series}/{unused}")));
        }
        relocate(&python.join(format!("bin/python{series}")), &home);
        let name = format!("cpython-{version}.tar.gz");
        run(Command::new("tar")
            .arg("-C")
            .arg(&directory)
            .args(["-czf"])
            .arg(directory.join(&name))
            .arg("python"));
        fs::remove_dir_all(&python).unwrap();
        let [major, minor, patch] =
            version.split('.').map(|part| part.parse::<u8>().unwrap()).collect::<Vec<_>>()[..]
        else {
            panic!("{version} is no version");
        };
        let list = serde_json::json!({ format!("cpython-{version}-linux-x86_64-gnu"): {
            "name": "cpython", "arch": {"family": "x86_64", "variant": null}, "os": "linux", "libc": "gnu",
            "major": major, "minor": minor, "patch": patch, "prerelease": "", "sha256": null, "variant": null,
            "url": format!("http://{}:{PORT}/{name}", site.network.gateway), "build": "20240101",
        }});
        fs::write(directory.join("list.json"), list.to_string()).unwrap();
        let server = Command::new("python3")
            .args(["-m", "http.server", &PORT.to_string(), "--bind", &site.network.gateway.to_string()])
            .arg("--directory")
            .arg(&directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { server, series })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// A Python of this host for Django 5.2, of another series than Debian 12's, and its version.
fn kept() -> Option<(PathBuf, String)> {
    let versions = KEPT.iter().flat_map(|path| fs::read_dir(path).into_iter().flatten().flatten());
    let mut found: Vec<_> = versions
        .filter_map(|entry| {
            let version = entry.file_name().into_string().ok()?;
            let series = version.rsplit_once('.')?.0.to_owned();
            let wanted = ["3.10", "3.12", "3.13"].contains(&series.as_str());
            let home = [entry.path(), entry.path().join("x64")]
                .into_iter()
                .find(|path| path.join(format!("bin/python{series}")).is_file())?;
            wanted.then_some((home, version))
        })
        .collect();
    found.sort();
    found.pop()
}

/// A program that finds its library wherever it is put: the place is a text in it, which may become shorter.
fn relocate(program: &Path, home: &Path) {
    let place = format!("{}/lib\0", home.display()).into_bytes();
    let mut bytes = fs::read(program).unwrap();
    if let Some(at) = bytes.windows(place.len()).position(|window| window == place) {
        let mut own = b"$ORIGIN/../lib".to_vec();
        own.resize(place.len(), 0);
        bytes[at..at + place.len()].copy_from_slice(&own);
        fs::write(program, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_that_the_image_does_not_have_is_installed() {
    let (site, mira) = Site::start("pythons").await;
    let repository = Repository::of(&site, "newer", "tests/machines/projects/plain");
    let name = mira.deploy(&repository.url, "mysite").await;
    let info = mira.until(&name, "live", 300).await;
    let id = info["instance_id"].as_str().unwrap().to_owned();
    let Some(mirror) = Mirror::start(&site) else {
        eprintln!("This host has no other Python to make a mirror of: nothing was tested.");
        return;
    };
    let list = format!(
        "echo UV_PYTHON_DOWNLOADS_JSON_URL=http://{}:{PORT}/list.json >>/etc/environment",
        site.network.gateway
    );
    site.exec(&id, &["bash", "-c", &list]).await;

    repository.commit("Choose", &[(".python-version", format!("{}\n", mirror.series).as_bytes())]);
    mira.redeploy(&name).await;
    mira.wait(&name, 20, |info| info["status"] == "deploying").await;
    mira.wait(&name, 300, |info| info["status"] == "live").await;
    let log = mira.get(&format!("/instances/{name}/log")).await.text;
    assert!(log.contains(&format!("Python {} is used, for .python-version", mirror.series)), "{log}");
    let serving = "ps -o comm=,args= -C python; readlink -f /srv/app/current/venv/bin/python";
    let serving = site.exec(&id, &["bash", "-c", serving]).await;
    assert!(serving.trim().ends_with(&format!("/python{}", mirror.series)), "{serving}");
}
