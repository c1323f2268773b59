//! Files on the agent-server's machine: `/api/file`.

use reqwest::Method;

use crate::agent_server::{AgentServerClient, Capabilities};
use crate::http::{Download, HttpError, Request, Upload};

impl AgentServerClient {
    fn file(&self, method: Method, endpoint: &str, path: &str, capabilities: Capabilities) -> Request {
        if capabilities.file_query {
            return self.of_machine(method, &["file", endpoint]).query(&[("path", path)]);
        }
        // Two slashes are needed: with one, the path counts as relative.
        let mut segments = vec!["file", endpoint];
        segments.extend(path.split('/'));
        self.of_machine(method, &segments)
    }

    /// `POST /api/file/upload`: writes a file and creates its parent folders. The path is absolute. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 400 (500 on older versions) if the file cannot be written.
    pub async fn upload(&self, path: &str, upload: Upload, capabilities: Capabilities) -> Result<(), HttpError> {
        self.file(Method::POST, "upload", path, capabilities).send_file(upload).await.map(drop)
    }

    /// `GET /api/file/download`: reads a file. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`]; 404 if the file does not exist, 400 for a folder.
    pub async fn download(&self, path: &str, capabilities: Capabilities) -> Result<Download, HttpError> {
        self.file(Method::GET, "download", path, capabilities).download().await
    }

    /// The same from an offset, with at most `longest` bytes; `None` if the file ends there. May be repeated.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn read_from(
        &self,
        path: &str,
        offset: u64,
        longest: u64,
        capabilities: Capabilities,
    ) -> Result<Option<Download>, HttpError> {
        let request = self.file(Method::GET, "download", path, capabilities);
        match request.range(offset, offset + longest - 1).download().await {
            // A proxy may remove the header. Then the response contains the whole file from its start.
            Ok(download) if download.status() != 206 && offset > 0 => download.after(offset).await,
            Ok(download) => Ok(Some(download)),
            Err(error) if error.status() == Some(416) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
