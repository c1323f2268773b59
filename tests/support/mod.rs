//! What the tests are written with.

pub mod agent_server;
pub mod asked;
pub mod automation_service;
pub mod browser;
pub mod cloud;
pub mod cloud_server;
pub mod engine;
pub mod faulty_cloud;
pub mod file_server;
pub mod gates;
pub mod git;
pub mod http_listener;
pub mod hunter;
pub mod instant_cloud;
pub mod instant_machine;
pub mod instant_server;
pub mod keys;
pub mod lent;
pub mod mark;
pub mod mcp_server;
pub mod meddler;
pub mod needs_root;
pub mod proxy;
pub mod receiver;
pub mod recorder;
pub mod release;
pub mod repository;
pub mod run;
pub mod scripted_llm;
pub mod slurm;
pub mod tls_front;

pub use agent_server::{AgentServer, NEWEST, OLDEST};
pub use automation_service::AutomationService;
pub use browser::Browser;
pub use cloud::Cloud;
pub use cloud_server::CloudServer;
pub use gates::Gates;
pub use receiver::Receiver;
pub use run::{Run, scaled_seconds, time_scale};
pub use scripted_llm::{ScriptedLlm, Step};

/// Makes a test of each function, once against the newest and once against the oldest agent-server.
#[macro_export]
macro_rules! on_newest_and_oldest {
    ($($test:ident),+ $(,)?) => {
        mod newest {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::support::AgentServer::shared($crate::support::NEWEST).await).await;
            })+
        }
        mod oldest {
            $(#[tokio::test]
            async fn $test() {
                let server = $crate::support::AgentServer::lent($crate::support::OLDEST).await;
                super::$test(&server).await;
            })+
        }
    };
}
