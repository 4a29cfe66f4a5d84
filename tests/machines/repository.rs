//! Repositories that a test makes; the site serves them beside its samples.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::site::Site;

pub struct Repository {
    work: PathBuf,
    bare: PathBuf,
    pub url: String,
}

impl Repository {
    /// A repository with a copy of a directory of this source tree as its first commit.
    pub fn of(site: &Site, name: &str, source: &str) -> Self {
        let repository = Self::unpublished(site, name, source);
        repository.commit("First", &[]);
        repository
    }

    /// The same without a commit, so that its files can be changed before there is one.
    pub fn unpublished(site: &Site, name: &str, source: &str) -> Self {
        let work = site.state_dir.join(format!("{name}.work"));
        let bare = site.state_dir.join(format!("samples/{name}.git"));
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        assert!(Command::new("cp").arg("-r").arg(&from).arg(&work).status().unwrap().success());
        let repository = Self { url: format!("{}/samples/{name}.git", site.callback_url()), work, bare };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: &[u8]) {
        let path = self.work.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Renames a file or directory.
    pub fn rename(&self, from: &str, to: &str) {
        let to = self.work.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.work.join(from), to).unwrap();
    }

    /// Removes a file or directory.
    pub fn remove(&self, path: &str) {
        let path = self.work.join(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    /// Writes files, commits all that changed, and publishes it.
    pub fn commit(&self, message: &str, files: &[(&str, &[u8])]) {
        self.commit_at(message, files, None);
    }

    /// The same, at a time as git reads it; now where there is none.
    pub fn commit_at(&self, message: &str, files: &[(&str, &[u8])], time: Option<&str>) {
        for (path, content) in files {
            self.write(path, content);
        }
        self.git(&["add", "--all"]);
        let name = ["-c", "user.name=Test", "-c", "user.email=test@localhost"];
        self.git_at(&[&name[..], &["commit", "--quiet", "-m", message]].concat(), time);
        if !self.bare.exists() {
            let bare = self.bare.to_str().unwrap();
            self.git(&["clone", "--quiet", "--bare", ".", bare]);
            for setting in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
                self.git(&["--git-dir", bare, "config", setting, "true"]);
            }
        }
        self.git(&["push", "--quiet", self.bare.to_str().unwrap(), "main"]);
        let chmod = Command::new("chmod").args(["-R", "go+rX"]).arg(&self.bare).status().unwrap();
        assert!(chmod.success());
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.work.join(path)).unwrap()
    }

    fn git(&self, arguments: &[&str]) {
        self.git_at(arguments, None);
    }

    fn git_at(&self, arguments: &[&str], time: Option<&str>) {
        let dates = ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].into_iter().zip(time.into_iter().cycle());
        let status = Command::new("git")
            .arg("-C")
            .arg(&self.work)
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(dates)
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }
}
