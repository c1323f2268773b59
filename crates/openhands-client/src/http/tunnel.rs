//! TCP connections that do not carry HTTP requests, through the same proxies.

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use super::{resolve, without_secrets};

/// The longest response of a proxy to `CONNECT`, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// Connects to the host of `target`, directly or through an HTTP proxy.
///
/// Sets no time limit of its own. Cancel safe: a dropped call leaves no connection.
///
/// # Errors
/// The reason why there is no connection, without secrets.
pub(crate) async fn connect(target: &Url, proxy: Option<&Url>) -> Result<TcpStream, String> {
    let Some(proxy) = proxy else { return open(target).await };
    let shown = without_secrets(proxy);
    if proxy.scheme() != "http" {
        return Err(format!("the events socket cannot go through a proxy of this kind: {shown}"));
    }
    let through = |reason: String| format!("through the proxy {shown}: {reason}");
    let mut stream = open(proxy).await.map_err(through)?;
    stream.write_all(request(target, proxy).as_bytes()).await.map_err(|error| through(error.to_string()))?;
    let head = head(&mut stream).await.map_err(through)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status.len() == 3 && status.starts_with('2') {
        return Ok(stream);
    }
    let line: String = head.lines().next().unwrap_or_default().chars().take(120).collect();
    Err(through(format!("it answered `{line}`")))
}

async fn open(url: &Url) -> Result<TcpStream, String> {
    let host = url.host_str().ok_or("an address without a host")?.trim_matches(['[', ']']);
    let port = url.port_or_known_default().ok_or("an address without a port")?;
    let connected = async { TcpStream::connect(&*resolve::addresses(host, port).await?).await };
    let stream = connected.await.map_err(|error: std::io::Error| error.to_string())?;
    // A caller may wait for the response in a small frame, so it must not be delayed.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn request(target: &Url, proxy: &Url) -> String {
    use base64::Engine as _;
    let host = format!("{}:{}", target.host_str().unwrap_or_default(), target.port_or_known_default().unwrap_or(443));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = format!("{}:{}", decoded(proxy.username()), decoded(proxy.password().unwrap_or_default()));
    let authorization = match user.as_str() {
        ":" => String::new(),
        user => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(user);
            format!("Proxy-Authorization: Basic {encoded}\r\n")
        }
    };
    format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n")
}

/// Reads the head of the response, and nothing after it, which belongs to the tunnel.
async fn head(stream: &mut TcpStream) -> Result<String, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err("its response is too long".to_owned());
        }
        head.push(stream.read_u8().await.map_err(|_| "it closed the connection".to_owned())?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Starts a proxy that sends one response, and returns the request that it received.
    async fn proxy(response: &'static str) -> (Url, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://me:pass%40word@127.0.0.1:{}", listener.local_addr().unwrap().port());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = head(&mut stream).await.unwrap();
            stream.write_all(response.as_bytes()).await.unwrap();
            request
        });
        (Url::parse(&url).unwrap(), asked)
    }

    #[tokio::test]
    async fn a_socket_goes_through_the_proxy_with_its_credentials() {
        let (url, asked) = proxy("HTTP/1.1 200 Connection established\r\n\r\nfirst bytes").await;
        let mut stream = connect(&Url::parse("wss://server.test/x").unwrap(), Some(&url)).await.unwrap();
        let request = asked.await.unwrap();
        assert!(request.starts_with("CONNECT server.test:443 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("Proxy-Authorization: Basic bWU6cGFzc0B3b3Jk\r\n"), "{request}");
        let mut first = [0; 11];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"first bytes");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_named_without_its_password() {
        let (url, _asked) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        let error = connect(&Url::parse("ws://server.test/x").unwrap(), Some(&url)).await.unwrap_err();
        assert!(error.starts_with("through the proxy http://127.0.0.1:") && error.contains("407"), "{error}");
        assert!(!error.contains("pass"), "{error}");
        let socks = Url::parse("socks5://p:1").unwrap();
        assert!(connect(&Url::parse("ws://h/").unwrap(), Some(&socks)).await.unwrap_err().contains("socks5://p:1"));
    }
}
