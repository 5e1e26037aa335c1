//! Images: made from a root that the owner has, or from a distribution's packages; images themselves are never fetched.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use moltbot_policy::Recorded;
use moltbot_policy::container::{ImagePermit, RootPackages};
use rustix::fs::{CWD, Mode, OFlags};
use tokio::sync::mpsc;

use super::engine::{ContainerEngine, EngineError};
use super::packages;

/// How long an engine may take for one image: it answers when it has all of it, and that is made meanwhile, of packages that are
/// fetched.
const IMPORT: Duration = Duration::from_secs(60 * 60);

/// What an image is made from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RootSource {
    /// A tar of a root, as `debootstrap` and `docker export` make them.
    Archive(PathBuf),
    /// A folder that holds a root: `bin`, `usr`, `etc` and what else there is.
    Folder(PathBuf),
    /// Packages of a distribution, which `mmdebstrap` fetches and checks.
    Packages(RootPackages),
}

/// One image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageRow {
    /// Its id.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// Its size in bytes.
    pub bytes: u64,
}

impl ContainerEngine {
    /// Makes an image, and returns its id.
    ///
    /// # Errors
    /// When the source cannot be read, or the engine refuses it.
    pub async fn import(
        &self,
        permit: Recorded<ImagePermit>,
        source: RootSource,
    ) -> Result<String, EngineError> {
        let permit = permit.into_permit();
        let (sender, mut parts) = mpsc::channel::<io::Result<Bytes>>(8);
        let reading = tokio::task::spawn_blocking(move || {
            let mut pipe = Pipe(sender);
            if let Err(error) = write_tar(&source, &mut pipe) {
                pipe.fail(error);
            }
        });
        let body = futures_util::stream::poll_fn(move |context| parts.poll_recv(context));
        let (name, tag) = permit.tag().rsplit_once(':').unwrap_or((permit.tag(), "latest"));
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(name).tag(tag).build();
        let patient = self.docker().clone().with_timeout(IMPORT);
        let answers = patient.create_image(Some(options), Some(bollard::body_try_stream(body)), None);
        let told: Result<Vec<_>, _> = answers.try_collect().await;
        reading.await.map_err(|error| EngineError::said(error.to_string()))?;
        let last = told?.into_iter().filter_map(|answer| answer.status).next_back();
        let id = last.filter(|status| status.starts_with("sha256:"));
        id.ok_or_else(|| EngineError::said("the engine named no id of the image that it made"))
    }

    /// The images that the engine has.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn images(&self) -> Result<Vec<ImageRow>, EngineError> {
        let found = self.docker().list_images(Some(ListImagesOptionsBuilder::default().build())).await?;
        let row = |image: bollard::models::ImageSummary| ImageRow {
            id: image.id,
            names: image.repo_tags,
            bytes: u64::try_from(image.size).unwrap_or(0),
        };
        Ok(found.into_iter().map(row).collect())
    }
}

/// Writes the root as a tar.
fn write_tar(source: &RootSource, pipe: &mut Pipe) -> io::Result<()> {
    match source {
        RootSource::Archive(path) => {
            let mut file =
                File::from(rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
            let mut bytes = vec![0; PART];
            loop {
                match file.read(&mut bytes)? {
                    0 => return Ok(()),
                    length => pipe.write_all(bytes.get(..length).unwrap_or_default())?,
                }
            }
        }
        RootSource::Packages(named) => packages::write_tar(named, |bytes| pipe.write_all(bytes)),
        RootSource::Folder(path) => {
            let mut tar = tar::Builder::new(io::BufWriter::with_capacity(PART, pipe));
            // A link stays a link: what it leads to here is not what it means there.
            tar.follow_symlinks(false);
            tar.append_dir_all(".", path)?;
            tar.into_inner()?.flush()
        }
    }
}

pub(super) const PART: usize = 256 * 1024;

/// The end of the pipe to the engine that a thread writes to.
struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl Pipe {
    /// Ends the engine's reading with an error, so that it makes no image of half a root.
    fn fail(&self, error: io::Error) {
        if self.0.blocking_send(Err(error)).is_err() {
            tracing::debug!("the engine had stopped reading already");
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
