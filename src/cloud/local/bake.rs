//! Golden images: a builder boots from the base, runs the image script and powers off; what it left is
//! flattened into a directory of its own, which no one changes again.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{
    LocalConfig, base,
    command::{run, tool},
    host::Release,
    lock::Lock,
    machine::{self, unwritable},
    mounts,
    names::digest,
    paths::{Paths, names_in, write_whole},
    place::{Layers, Place},
    rooted::{Rooted, remove},
};
use crate::{
    cloud::{BakeSpec, Baked, CloudError},
    domain::{Line, Mark, parse_line},
};

/// How long an image script may take. It takes two to four minutes from near mirrors.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// How long a builder may stay up once its script has ended, before it is not going to power off.
const LINGER: Duration = Duration::from_secs(20);

/// How often the builder's log is read.
const READ: Duration = Duration::from_millis(200);

/// Where the image script logs, in the builder and then in every machine.
const LOG: &str = "/var/log/ec-deployer/image.log";

/// Longest line that is looked at for a mark.
const LONGEST_MARK: usize = 512;

/// Who listens to a bake, and whether anyone still wants it.
pub(super) struct Out {
    /// Where what is printed goes.
    pub log: mpsc::Sender<Vec<u8>>,
    /// Set when nobody waits for the bake any more.
    pub unwanted: Arc<AtomicBool>,
}

impl Out {
    /// Passes on what was printed. A slow listener is waited for, one that is gone is not.
    pub(super) fn say(&self, text: &str) {
        self.pass(text.as_bytes().to_vec());
    }

    fn pass(&self, bytes: Vec<u8>) {
        let mut bytes = bytes;
        while let Err(TrySendError::Full(back)) = self.log.try_send(bytes) {
            if self.check_wanted().is_err() {
                return;
            }
            bytes = back;
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// An error once nobody waits for the bake any more.
    pub(super) fn check_wanted(&self) -> Result<(), CloudError> {
        if self.unwanted.load(Ordering::Relaxed) {
            Err(CloudError::later("The bake was given up."))
        } else {
            Ok(())
        }
    }
}

/// What is known of an image beside its root. An image is one only once this is there.
#[derive(Serialize, Deserialize)]
struct Tags {
    site: String,
    /// The digest of its script.
    script: String,
    base: String,
}

/// Bakes an image.
pub(super) fn bake(
    config: &LocalConfig,
    paths: &Paths,
    spec: &BakeSpec,
    out: &Out,
) -> Result<Baked, CloudError> {
    // The number is unique on its site only.
    let name = format!("img-{}-{}", spec.image, &digest(&[&config.site])[..8]);
    let lock = hold(paths, &format!("bake-{name}"), out)?;
    let baked = bake_alone(config, paths, spec, &name, out);
    lock.remove().map_err(unwritable)?;
    baked
}

fn bake_alone(
    config: &LocalConfig,
    paths: &Paths,
    spec: &BakeSpec,
    name: &str,
    out: &Out,
) -> Result<Baked, CloudError> {
    let label = format!("bake-{name}");
    clear(config, paths, &label)?;
    let script = digest(&[&spec.script]);
    if let Some(tags) = read_tags(paths, name)? {
        // The site was killed after the bake and before it had noted that.
        return if tags.script == script {
            found(paths, name, tags.base)
        } else {
            Err(CloudError::never(format!("The golden image {name} is there already.")))
        };
    }
    let base = base::ensure(config, paths, out)?;
    let place = Place::new(config, paths, paths.bakes().join(&label));
    let baked =
        build(&place, &base.path, spec, out).and_then(|()| flatten(&place, &base.path, paths, name, out));
    let cleared = clear(config, paths, &label);
    let pretty_name = baked?;
    cleared?;
    let tags = Tags { site: config.site.clone(), script, base: pretty_name.clone() };
    let text = serde_json::to_vec_pretty(&tags).expect("tags are plain text");
    write_whole(&paths.image_tags(name), &text).map_err(unwritable)?;
    found(paths, name, pretty_name)
}

/// A finished image, as it is told.
fn found(paths: &Paths, name: &str, base: String) -> Result<Baked, CloudError> {
    let size = disk_usage(&paths.image(name)).map_err(unwritable)?;
    Ok(Baked { cloud_ref: name.to_owned(), base, size })
}

/// Bytes that a directory takes on disk with all that is in it; a file with several names counts once.
fn disk_usage(directory: &Path) -> std::io::Result<u64> {
    let mut counted = HashSet::new();
    let mut blocks = fs::symlink_metadata(directory)?.blocks();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // Of a link itself, not of what it leads to.
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else if metadata.nlink() > 1 && !counted.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            blocks += metadata.blocks();
        }
    }
    // The unit of `stat`, whatever the file system's own is.
    Ok(blocks * 512)
}

fn hold(paths: &Paths, label: &str, out: &Out) -> Result<Lock, CloudError> {
    loop {
        out.check_wanted()?;
        if let Some(lock) = Lock::try_hold(&paths.place_lock(label)).map_err(unwritable)? {
            return Ok(lock);
        }
        thread::sleep(READ);
    }
}

/// Removes a bake's builder, and the image that it did not finish.
fn clear(config: &LocalConfig, paths: &Paths, label: &str) -> Result<(), CloudError> {
    let place = Place::new(config, paths, paths.bakes().join(label));
    place.take_down()?;
    remove(&place.directory).map_err(unwritable)?;
    let name = label.trim_start_matches("bake-");
    remove(&paths.images().join(format!(".new-{name}"))).map_err(unwritable)
}

/// Removes what bakes and deletions that were cut short left, but for those that another run of the
/// program is at.
pub(super) fn sweep(config: &LocalConfig, paths: &Paths) -> Result<(), CloudError> {
    for label in names_in(&paths.bakes()).map_err(unwritable)? {
        if let Some(lock) = Lock::try_hold(&paths.place_lock(&label)).map_err(unwritable)? {
            clear(config, paths, &label)?;
            lock.remove().map_err(unwritable)?;
        }
    }
    let _images = Lock::hold(&paths.images_lock()).map_err(unwritable)?;
    for entry in fs::read_dir(paths.images()).map_err(unwritable)? {
        let path = entry.map_err(unwritable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let deleted = name.starts_with(".gone-");
        let finished = name.starts_with('.') || name.ends_with(".json") || paths.image_tags(&name).exists();
        let baked_now = || {
            Lock::try_hold(&paths.place_lock(&format!("bake-{name}"))).map(|lock| match lock {
                Some(lock) => lock.remove().is_err(),
                None => true,
            })
        };
        if deleted || (!finished && !baked_now().map_err(unwritable)?) {
            remove(&path).map_err(unwritable)?;
        }
    }
    Ok(())
}

/// Boots the builder and follows its script to its end.
fn build(place: &Place<'_>, base: &Path, spec: &BakeSpec, out: &Out) -> Result<(), CloudError> {
    fs::create_dir_all(&place.directory).map_err(unwritable)?;
    place.boot(base, |root| machine::seed(root, &place.label, "image", &spec.script))?;
    let root = Rooted::open(&place.root()).map_err(unwritable)?;
    let mut log = Tail::default();
    let deadline = Instant::now() + DEADLINE;
    let mut ended: Option<Instant> = None;
    let late = loop {
        let up = !place.processes_now()?.keepers.is_empty();
        log.read(&root, out);
        if !up {
            break false;
        }
        out.check_wanted()?;
        if ended.is_none() && (log.failed.is_some() || root.exists("/var/lib/cloud/instance/boot-finished")) {
            ended = Some(Instant::now());
        }
        if Instant::now() > deadline || ended.is_some_and(|since| since.elapsed() > LINGER) {
            break true;
        }
        thread::sleep(READ);
    };
    if let Some((step, code)) = &log.failed {
        return Err(CloudError::never(format!("The image script failed at {step} (exit code {code}).")));
    }
    if !late && log.done {
        return Ok(());
    }
    if log.offset == 0 {
        // The script did not even begin; what cloud-init or the console says of it is all there is.
        let mut said = Vec::new();
        if let Ok(file) = root.read("/var/log/cloud-init-output.log") {
            let _ = file.take(64 * 1024).read_to_end(&mut said);
        }
        if said.is_empty() {
            said = place.console(64 * 1024).unwrap_or_default();
        }
        out.pass(said);
    }
    Err(CloudError::never(match (late, ended.is_some(), log.done) {
        (true, true, true) => "The image script is done, but the machine did not power off.",
        (true, true, false) => "The image script ended without its mark `::ec done`.",
        (true, false, _) => "The image script took over 20 minutes.",
        (false, ..) => "The machine powered off before the image script was done.",
    }))
}

/// The builder's log as far as it has been read.
#[derive(Default)]
struct Tail {
    offset: u64,
    line: Vec<u8>,
    done: bool,
    failed: Option<(String, i32)>,
}

impl Tail {
    /// Passes on what is new.
    fn read(&mut self, root: &Rooted, out: &Out) {
        let Ok(mut file) = root.read(LOG) else { return };
        loop {
            let mut bytes = Vec::new();
            let read = file
                .seek(SeekFrom::Start(self.offset))
                .and_then(|_| (&mut file).take(64 * 1024).read_to_end(&mut bytes));
            if read.is_err() || bytes.is_empty() {
                return;
            }
            self.offset += bytes.len() as u64;
            self.feed(&bytes);
            out.pass(bytes);
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() <= LONGEST_MARK {
                    self.line.push(*byte);
                }
                continue;
            }
            match std::str::from_utf8(&self.line).map(parse_line) {
                Ok(Line::Mark(Mark::Done)) => self.done = true,
                Ok(Line::Mark(Mark::Failed(step, code))) => self.failed = Some((step, code)),
                _ => {}
            }
            self.line.clear();
        }
    }
}

/// Makes an image's root of what the builder left. Gives what it stands on, in words.
fn flatten(
    place: &Place<'_>,
    base: &Path,
    paths: &Paths,
    name: &str,
    out: &Out,
) -> Result<String, CloudError> {
    place.take_down()?;
    out.check_wanted()?;
    let layers = Layers::new(&place.directory, base);
    mounts::mount_layers(&layers)?;
    let unfinished = paths.images().join(format!(".new-{name}"));
    remove(&unfinished).map_err(unwritable)?;
    run(tool("cp").args(["-a", "--reflink=auto", "--"]).arg(&layers.root).arg(&unfinished))?;
    mounts::unmount(&place.directory)?;
    let root = Rooted::open(&unfinished).map_err(unwritable)?;
    clean(&root)
        .map_err(|error| CloudError::later("The golden image could not be cleaned.").because(error))?;
    let mut text = String::new();
    root.read("/etc/os-release").and_then(|mut file| file.read_to_string(&mut text)).map_err(unwritable)?;
    let release = Release::parse(&text)
        .ok_or_else(|| CloudError::never("The golden image is neither Debian nor Ubuntu any more."))?;
    // What is listed must be whole after a power failure too.
    run(tool("sync").arg("--file-system").arg(&unfinished))?;
    out.check_wanted()?;
    let image = paths.image(name);
    remove(&image).and_then(|()| fs::rename(&unfinished, &image)).map_err(unwritable)?;
    Ok(release.pretty_name)
}

/// Removes what is the builder's and not the image's.
fn clean(root: &Rooted) -> std::io::Result<()> {
    for name in ["instances", "instance", "data", "sem", "seed"] {
        root.remove(&format!("/var/lib/cloud/{name}"))?;
    }
    root.make_directories("/var/lib/cloud/seed/nocloud", 0o755)?;
    root.write("/etc/machine-id", b"", 0o444)?;
    root.write("/etc/hostname", b"localhost\n", 0o644)?;
    for path in [
        "/etc/resolv.conf",
        "/var/lib/dbus/machine-id",
        "/var/lib/systemd/random-seed",
        "/var/cache/apt/pkgcache.bin",
        "/var/cache/apt/srcpkgcache.bin",
        "/root/.bash_history",
    ] {
        root.remove(path)?;
    }
    for directory in ["/tmp", "/var/tmp", "/run", "/var/log/journal", "/var/cache/apt/archives"] {
        root.empty(directory)?;
    }
    root.remove_files("/var/log", &["/var/log/ec-deployer"])
}

fn read_tags(paths: &Paths, name: &str) -> Result<Option<Tags>, CloudError> {
    match fs::read(paths.image_tags(name)) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
            CloudError::never(format!("The golden image {name} has no readable tags.")).because(error)
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unwritable(error)),
    }
}

/// This site's images.
pub(super) fn images(config: &LocalConfig, paths: &Paths) -> Result<Vec<String>, CloudError> {
    let mut images = Vec::new();
    for file in names_in(&paths.images()).map_err(unwritable)? {
        if let Some(name) = file.strip_suffix(".json")
            && let Some(tags) = read_tags(paths, name)?
            && tags.site == config.site
        {
            images.push(name.to_owned());
        }
    }
    Ok(images)
}

/// Deletes one of this site's images, unless a machine stands on it. One that is gone is no error.
pub(super) fn delete_image(config: &LocalConfig, paths: &Paths, name: &str) -> Result<(), CloudError> {
    machine::check_image_name(name)?;
    let _images = Lock::hold(&paths.images_lock()).map_err(unwritable)?;
    let Some(tags) = read_tags(paths, name)? else { return Ok(()) };
    if tags.site != config.site {
        return Err(CloudError::never(format!("The golden image {name} is not of this site.")));
    }
    if machine::stands_on(paths, name)? {
        return Err(CloudError::never(format!(
            "A machine stands on the golden image {name}: terminate it first, also if it is stopped."
        )));
    }
    let going: PathBuf = paths.images().join(format!(".gone-{name}"));
    remove(&paths.image_tags(name))
        .and_then(|()| remove(&going))
        .and_then(|()| fs::rename(paths.image(name), &going))
        .and_then(|()| remove(&going))
        .map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_whatever_pieces_they_come_in() {
        for size in 1..40 {
            let mut tail = Tail::default();
            let text = format!("{}\n ::ec done\n::ec step packages failed 100\n::ec done\n", "x".repeat(600));
            for piece in text.as_bytes().chunks(size) {
                tail.feed(piece);
            }
            assert!(tail.done);
            assert_eq!(tail.failed, Some(("packages".to_owned(), 100)));
        }
        let mut tail = Tail::default();
        tail.feed(b" ::ec done\nsaid ::ec done\n::ec done");
        assert!(!tail.done);
    }

    #[test]
    fn a_size_is_what_is_on_disk_and_no_file_counts_twice() {
        let dir = tempfile::tempdir().unwrap();
        let empty = disk_usage(dir.path()).unwrap();
        fs::create_dir(dir.path().join("usr")).unwrap();
        let file = dir.path().join("usr/file");
        fs::write(&file, vec![7; 1_000_000]).unwrap();
        let one = disk_usage(dir.path()).unwrap();
        assert!((1_000_000..1_100_000).contains(&(one - empty)), "{empty} {one}");
        fs::hard_link(&file, dir.path().join("usr/again")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("usr/all")).unwrap();
        assert!(disk_usage(dir.path()).unwrap() < one + 20_000);
        // A hole takes nothing.
        fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        assert!(disk_usage(dir.path()).unwrap() < one + 20_000);
    }
}
