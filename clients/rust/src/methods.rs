// Code generated from generated/descriptor.binpb by `make generate`. DO NOT EDIT.

use crate::client::{Client, Messages, identify};
use crate::errors::Error;
use crate::{admin, auth, chat, google, knowledge};

#[rustfmt::skip]
impl Client {
    /// GetSystemStatus checks every part of the system and waits at most two seconds for each part. If a part does not answer,
    /// the call reports the part as DOWN and still succeeds. Only an owner of the installation gets the counters, which are
    /// sums over all tenants.
    pub async fn get_system_status(&self, request: admin::v1::GetSystemStatusRequest) -> Result<admin::v1::SystemStatus, Error> {
        self.call("/responsa.admin.v1.AdminService/GetSystemStatus", true, &request).await
    }

    /// CreateTeacher creates a teacher.
    ///
    /// Errors: INVALID_FIELD, REQUEST_ID_REUSED, RESOURCE_ALREADY_EXISTS (another teacher has the teacher_id).
    pub async fn create_teacher(&self, mut request: admin::v1::CreateTeacherRequest) -> Result<admin::v1::Teacher, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.admin.v1.AdminService/CreateTeacher", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// GetTeacher returns one teacher.
    ///
    /// Errors: TEACHER_NOT_FOUND.
    pub async fn get_teacher(&self, request: admin::v1::GetTeacherRequest) -> Result<admin::v1::Teacher, Error> {
        self.call("/responsa.admin.v1.AdminService/GetTeacher", true, &request).await
    }

    /// ListTeachers lists the tenant's teachers, oldest first by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_teachers(&self, request: admin::v1::ListTeachersRequest) -> Result<admin::v1::ListTeachersResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListTeachers", true, &request).await
    }

    /// UpdateTeacher changes the fields that update_mask names (display_name, persona, parameters). If the call fails, it
    /// changes nothing. A running turn keeps the persona that it began with.
    ///
    /// Errors: TEACHER_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH.
    pub async fn update_teacher(&self, request: admin::v1::UpdateTeacherRequest) -> Result<admin::v1::Teacher, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateTeacher", request.teacher.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// DeleteTeacher deletes a teacher. Existing answers in the teacher's voice stay.
    ///
    /// Errors: TEACHER_NOT_FOUND, ETAG_MISMATCH.
    pub async fn delete_teacher(&self, request: admin::v1::DeleteTeacherRequest) -> Result<(), Error> {
        self.call("/responsa.admin.v1.AdminService/DeleteTeacher", false, &request).await
    }

    /// CreateProgram registers a program that people of the tenant may connect to their accounts with OAuth.
    ///
    /// Errors: INVALID_FIELD, RESOURCE_ALREADY_EXISTS (a program with this document_uri), REQUEST_ID_REUSED.
    pub async fn create_program(&self, mut request: admin::v1::CreateProgramRequest) -> Result<admin::v1::Program, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.admin.v1.AdminService/CreateProgram", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// ListPrograms lists the tenant's registered programs, oldest first by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_programs(&self, request: admin::v1::ListProgramsRequest) -> Result<admin::v1::ListProgramsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListPrograms", true, &request).await
    }

    /// DeleteProgram deletes a registered program, and with it the sessions of all who have connected it.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH.
    pub async fn delete_program(&self, request: admin::v1::DeleteProgramRequest) -> Result<(), Error> {
        self.call("/responsa.admin.v1.AdminService/DeleteProgram", false, &request).await
    }

    /// ListAskedPrograms lists the addresses of programs whose own registration was refused for them, newest first by default:
    /// those that an owner has allowed, and 100 others. Of these, the newest of each network address stay longest. Only owners
    /// of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_asked_programs(&self, request: admin::v1::ListAskedProgramsRequest) -> Result<admin::v1::ListAskedProgramsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListAskedPrograms", true, &request).await
    }

    /// UpdateAskedProgram changes whether programs that register themselves may send people back to an address (`allowed`), at
    /// once and on all servers, while `programs.dynamic_registration` is `known`. Connected programs stay if the address is
    /// allowed no more. Only owners of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH.
    pub async fn update_asked_program(&self, request: admin::v1::UpdateAskedProgramRequest) -> Result<admin::v1::AskedProgram, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateAskedProgram", request.asked_program.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// DeleteAskedProgram deletes an address, which is then allowed no more. It appears again when a program asks for it. Only
    /// owners of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, ETAG_MISMATCH.
    pub async fn delete_asked_program(&self, request: admin::v1::DeleteAskedProgramRequest) -> Result<(), Error> {
        self.call("/responsa.admin.v1.AdminService/DeleteAskedProgram", false, &request).await
    }

    /// CreateSource creates a source with a mapping or a folder. Of a folder, the names of the files are read first.
    ///
    /// Errors: INVALID_FIELD (the mapping has mistakes; the error has one violation, with a line, for each of the first 16; or
    /// the folder cannot be read, and the violation names the field of the folder to correct), RESOURCE_NOT_FOUND (the
    /// collection does not exist, or the connection does not exist or is not granted to the tenant), RESOURCE_ALREADY_EXISTS.
    pub async fn create_source(&self, request: admin::v1::CreateSourceRequest) -> Result<admin::v1::Source, Error> {
        self.call("/responsa.admin.v1.AdminService/CreateSource", false, &request).await
    }

    /// GetSource returns one source.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_source(&self, request: admin::v1::GetSourceRequest) -> Result<admin::v1::Source, Error> {
        self.call("/responsa.admin.v1.AdminService/GetSource", true, &request).await
    }

    /// ListSources lists the tenant's sources, ordered by name by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_sources(&self, request: admin::v1::ListSourcesRequest) -> Result<admin::v1::ListSourcesResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListSources", true, &request).await
    }

    /// UpdateSource changes the fields that update_mask names (display_name, mapping, folder as a whole).
    ///
    /// Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH, INVALID_FIELD (as for CreateSource).
    pub async fn update_source(&self, request: admin::v1::UpdateSourceRequest) -> Result<admin::v1::Source, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateSource", request.source.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// DeleteSource deletes a source. The documents that the source made stay in their collection, unless delete_documents is
    /// set.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH.
    pub async fn delete_source(&self, request: admin::v1::DeleteSourceRequest) -> Result<(), Error> {
        self.call("/responsa.admin.v1.AdminService/DeleteSource", false, &request).await
    }

    /// PreviewSource reads the first rows of each query of a mapping, or its first pages, and returns the documents that these
    /// make. The call stores nothing. It reads at most 8 MiB of rows, returns the first 16 KiB of each text and about 8 MiB in
    /// all, and takes at most 60 seconds.
    ///
    /// Errors: INVALID_FIELD (as for CreateSource), RESOURCE_NOT_FOUND (as for CreateSource), SOURCE_UNREADABLE (the database
    /// or the website cannot be read).
    pub async fn preview_source(&self, request: admin::v1::PreviewSourceRequest) -> Result<admin::v1::PreviewSourceResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/PreviewSource", true, &request).await
    }

    /// SyncSource begins a run of a source, in the caller's name. The run reads all rows, or only the rows of one subject. The
    /// run makes documents from rows that are new or have changed, and deletes the documents whose rows are gone. It changes
    /// nothing until it has read all rows. A row that makes no document is set aside, and the documents of its subject stay as
    /// they are. The operation ends when the documents can be searched. WatchOperation follows the run, and CancelOperation
    /// ends it. If a run is cancelled, the documents that it has already made stay. The next run makes the documents that are
    /// missing. The operation's error is SOURCE_UNREADABLE (the database cannot be read) or SOURCE_DELETIONS (more documents
    /// would be deleted than the mapping's deletions_percent allows). The runs of a source work one after the other, in the
    /// order of the calls. If an earlier run of the caller for the same subject is still waiting to begin, the call returns
    /// that run.
    ///
    /// Errors: RESOURCE_NOT_FOUND, SOURCE_RUNNING (another run for all subjects has not ended), LIMIT_REACHED (1,000 runs of
    /// the source have not ended).
    pub async fn sync_source(&self, request: admin::v1::SyncSourceRequest) -> Result<google::longrunning::Operation, Error> {
        self.call("/responsa.admin.v1.AdminService/SyncSource", false, &request).await
    }

    /// RetryFailedRows begins a run for all subjects with a row that failed in an earlier run. The run retries the failed rows
    /// and all other rows of these subjects. The run reads all rows, but it makes and deletes only documents about these
    /// subjects. In all other respects, the run is like a run that SyncSource begins.
    ///
    /// Errors: RESOURCE_NOT_FOUND, SOURCE_RUNNING.
    pub async fn retry_failed_rows(&self, request: admin::v1::RetryFailedRowsRequest) -> Result<google::longrunning::Operation, Error> {
        self.call("/responsa.admin.v1.AdminService/RetryFailedRows", false, &request).await
    }

    /// ListDeliveries lists the notifications to webhooks about the tenant's runs and failed ingestions, newest first by
    /// default. The server keeps deliveries that have ended for at least 30 days.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_deliveries(&self, request: admin::v1::ListDeliveriesRequest) -> Result<admin::v1::ListDeliveriesResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListDeliveries", true, &request).await
    }

    /// RedeliverDelivery sends a notification again at once, with the same id and body. The webhook's present declaration
    /// applies. The server counts the attempts from 0 again. If the notification is already waiting for its next attempt, the
    /// call makes this attempt now, and adds no further attempt.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn redeliver_delivery(&self, request: admin::v1::RedeliverDeliveryRequest) -> Result<admin::v1::Delivery, Error> {
        self.call("/responsa.admin.v1.AdminService/RedeliverDelivery", true, &request).await
    }

    /// NotifySubjectChanged reports that the rows about a subject have changed, and begins a run for this subject in each
    /// source that the call concerns. Usually the change can be searched within two seconds. Services and administrators may
    /// make this call. The documents that the runs make belong to the administrator who makes the call. If a service makes the
    /// call, these documents belong to the administrator who made the source or changed it last. The runs of a source work one
    /// after the other. If an earlier run of the caller for the same subject is still waiting to begin, the call returns that
    /// run. Therefore, many calls in a short time begin only a few runs. If the call fails, no source gets a run.
    ///
    /// Errors: RESOURCE_NOT_FOUND (a source does not exist), REQUEST_ID_REUSED, LIMIT_REACHED (1,000 runs of a source have not
    /// ended).
    pub async fn notify_subject_changed(&self, mut request: admin::v1::NotifySubjectChangedRequest) -> Result<admin::v1::NotifySubjectChangedResponse, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.admin.v1.AdminService/NotifySubjectChanged", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// ListFailedRows lists the failed rows, oldest first. A row has failed if it made no document in the newest run that read
    /// it. Every run tries these rows again; RetryFailedRows begins a run for them and their subjects only.
    ///
    /// Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID.
    pub async fn list_failed_rows(&self, request: admin::v1::ListFailedRowsRequest) -> Result<admin::v1::ListFailedRowsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListFailedRows", true, &request).await
    }

    /// ListConnections lists the connections that the tenant's sources may use, and the folders of the server below which
    /// folders may be connected. All are on one page, ordered by name. The owner of the installation declares connections in
    /// files.
    pub async fn list_connections(&self, request: admin::v1::ListConnectionsRequest) -> Result<admin::v1::ListConnectionsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListConnections", true, &request).await
    }

    /// ReloadAgents reads the declarations of all tools and the files of all agents again, and replaces every valid tool and
    /// agent in one step. An agent with a mistake in its files keeps its previous version, and the response reports the
    /// mistakes. Running turns keep their versions. The server asks the other servers to reload too. Only owners of the
    /// installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, PART_UNAVAILABLE (in this case, no agent has changed).
    pub async fn reload_agents(&self, request: admin::v1::ReloadAgentsRequest) -> Result<admin::v1::ReloadAgentsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ReloadAgents", true, &request).await
    }

    /// ListAgentVersions lists the versions of an agent that servers of this installation have read, the newest first.
    ///
    /// Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID.
    pub async fn list_agent_versions(&self, request: admin::v1::ListAgentVersionsRequest) -> Result<admin::v1::ListAgentVersionsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListAgentVersions", true, &request).await
    }

    /// GetAgentVersion returns a version of an agent, to owners of the installation with its content.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_agent_version(&self, request: admin::v1::GetAgentVersionRequest) -> Result<chat::v1::AgentVersion, Error> {
        self.call("/responsa.admin.v1.AdminService/GetAgentVersion", true, &request).await
    }

    /// CreateAgentVersion creates a version of an agent from a whole configuration, which is checked like the agent's files. It
    /// does not answer questions that do not name it. If a version has the same content, the call returns that version and its
    /// card. An agent whose `config` has `standard: true` needs no files, and no steps of its own: it begins to exist when its
    /// first version is published. Only owners of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, INVALID_FIELD (a violation for each mistake, at its key in `config` where it
    /// has one).
    pub async fn create_agent_version(&self, request: admin::v1::CreateAgentVersionRequest) -> Result<chat::v1::AgentVersion, Error> {
        self.call("/responsa.admin.v1.AdminService/CreateAgentVersion", true, &request).await
    }

    /// PublishAgentVersion lets a version answer the agent's new questions in place of the version of its files, on every
    /// server with the same files, until the files or the default model change. A version with `standard: true` answers on
    /// every server, whatever the files are, until the version of the files is published; it uses the default model of the day.
    /// Running turns keep their versions. Only owners of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, AGENT_VERSION_UNFIT, ETAG_MISMATCH, PRICE_UNKNOWN.
    pub async fn publish_agent_version(&self, request: admin::v1::PublishAgentVersionRequest) -> Result<chat::v1::Agent, Error> {
        self.call("/responsa.admin.v1.AdminService/PublishAgentVersion", request.etag.is_empty(), &request).await
    }

    /// RollbackAgentVersion takes back the last publication of an agent, which must be that of the named version. Then the
    /// version answers that answered before it was published; an agent without files is out of service after its first
    /// publication was taken back, and only its name is returned. Only owners of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, AGENT_VERSION_NOT_PUBLISHED.
    pub async fn rollback_agent_version(&self, request: admin::v1::RollbackAgentVersionRequest) -> Result<chat::v1::Agent, Error> {
        self.call("/responsa.admin.v1.AdminService/RollbackAgentVersion", false, &request).await
    }

    /// UpdateAgent changes whether people and programs are offered an agent (`listed`), on every server, until a version with
    /// `standard: true` is published. Only owners of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH.
    pub async fn update_agent(&self, request: admin::v1::UpdateAgentRequest) -> Result<chat::v1::Agent, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateAgent", request.agent.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// CreateExperiment begins an experiment with a version of an agent. Every server splits new questions within five seconds.
    /// An agent has at most one running experiment. Only owners of the installation may make this call, and the others about
    /// experiments.
    ///
    /// Errors: ROLE_REQUIRED, INVALID_FIELD, RESOURCE_NOT_FOUND, AGENT_VERSION_UNFIT, EXPERIMENT_RUNNING,
    /// EXPERIMENT_PARAMETERS_DIFFER.
    pub async fn create_experiment(&self, request: admin::v1::CreateExperimentRequest) -> Result<admin::v1::Experiment, Error> {
        self.call("/responsa.admin.v1.AdminService/CreateExperiment", false, &request).await
    }

    /// GetExperiment returns an experiment.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND.
    pub async fn get_experiment(&self, request: admin::v1::GetExperimentRequest) -> Result<admin::v1::Experiment, Error> {
        self.call("/responsa.admin.v1.AdminService/GetExperiment", true, &request).await
    }

    /// ListExperiments lists the experiments of all agents, the newest first.
    ///
    /// Errors: ROLE_REQUIRED, PAGE_TOKEN_INVALID.
    pub async fn list_experiments(&self, request: admin::v1::ListExperimentsRequest) -> Result<admin::v1::ListExperimentsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListExperiments", true, &request).await
    }

    /// StopExperiment ends an experiment, if it still runs. The baseline then answers alone.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND.
    pub async fn stop_experiment(&self, request: admin::v1::StopExperimentRequest) -> Result<admin::v1::Experiment, Error> {
        self.call("/responsa.admin.v1.AdminService/StopExperiment", true, &request).await
    }

    /// GetExperimentReport compares the versions of an experiment by the turns that ended until a few seconds ago. It may be
    /// read at any time; the intervals allow for that.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND.
    pub async fn get_experiment_report(&self, request: admin::v1::GetExperimentReportRequest) -> Result<admin::v1::ExperimentReport, Error> {
        self.call("/responsa.admin.v1.AdminService/GetExperimentReport", true, &request).await
    }

    /// CreateUser creates a user of the caller's tenant. The user has no credential yet.
    ///
    /// Errors: INVALID_FIELD, REQUEST_ID_REUSED, RESOURCE_ALREADY_EXISTS (another user of the tenant has the e-mail address),
    /// SIGN_IN_REQUIRED (the role is ADMIN, and the caller's session began more than ten minutes ago).
    pub async fn create_user(&self, mut request: admin::v1::CreateUserRequest) -> Result<auth::v1::User, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.admin.v1.AdminService/CreateUser", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// GetUser returns one user of the tenant.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_user(&self, request: admin::v1::GetUserRequest) -> Result<auth::v1::User, Error> {
        self.call("/responsa.admin.v1.AdminService/GetUser", true, &request).await
    }

    /// LookupUser returns the user with an e-mail address; upper and lower case do not matter.
    ///
    /// Errors: INVALID_FIELD, RESOURCE_NOT_FOUND.
    pub async fn lookup_user(&self, request: admin::v1::LookupUserRequest) -> Result<auth::v1::User, Error> {
        self.call("/responsa.admin.v1.AdminService/LookupUser", true, &request).await
    }

    /// ListUsers lists the tenant's users, disabled ones included, oldest first by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_users(&self, request: admin::v1::ListUsersRequest) -> Result<admin::v1::ListUsersResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListUsers", true, &request).await
    }

    /// UpdateUser changes the fields that update_mask names (display_name, email, role, subject). If the call fails, it changes
    /// nothing. On the server that handled the change, a new role takes effect at the user's next call. On other servers, it
    /// takes effect within a second. All keys of a service that gets another role are revoked, because administrators may have
    /// created them. The call cannot take the role ADMIN from the tenant's last administrator who is not disabled. Only an
    /// owner of the installation may change the email, the role or the subject of an owner. An owner who loses the role ADMIN
    /// is no longer an owner.
    ///
    /// Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, INVALID_FIELD, ETAG_MISMATCH, RESOURCE_ALREADY_EXISTS (another user of
    /// the tenant has the e-mail address), LAST_ADMINISTRATOR, LAST_OWNER, ROLE_REQUIRED (the user is an owner),
    /// SIGN_IN_REQUIRED (the caller's session began more than ten minutes ago, and the call changes the email or gives the role
    /// ADMIN).
    pub async fn update_user(&self, request: admin::v1::UpdateUserRequest) -> Result<auth::v1::User, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateUser", request.user.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// GetUserLimits returns the limits of a user.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_user_limits(&self, request: admin::v1::GetUserLimitsRequest) -> Result<admin::v1::UserLimits, Error> {
        self.call("/responsa.admin.v1.AdminService/GetUserLimits", true, &request).await
    }

    /// UpdateUserLimits sets or removes the exceptions that update_mask names. If the call fails, it changes nothing. The
    /// exceptions apply to all credentials of the user, on this server at once and on the others within two seconds. Setting a
    /// limit to its present value changes nothing.
    ///
    /// Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, INVALID_FIELD, ROLE_REQUIRED (the user is an owner of the installation,
    /// and the caller is not).
    pub async fn update_user_limits(&self, request: admin::v1::UpdateUserLimitsRequest) -> Result<admin::v1::UserLimits, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateUserLimits", true, &request).await
    }

    /// DisableUser makes all further calls of a user fail with USER_DISABLED, whatever the credential. The change takes effect
    /// at once on this server, and within a second on others. The user's open streams end with the same error within a second;
    /// turns go on to their end. Nothing of the user is deleted. Disabling a disabled user changes nothing. Only an owner of
    /// the installation may disable an owner.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, LAST_ADMINISTRATOR, LAST_OWNER, ROLE_REQUIRED (the user is an owner).
    pub async fn disable_user(&self, request: admin::v1::DisableUserRequest) -> Result<auth::v1::User, Error> {
        self.call("/responsa.admin.v1.AdminService/DisableUser", request.etag.is_empty(), &request).await
    }

    /// EnableUser lets a disabled user make calls again. The user's credentials work again, except those that have expired or
    /// were revoked in the meantime. Enabling a user who is not disabled changes nothing.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, ROLE_REQUIRED (the user is an owner of the installation, and the caller is
    /// not).
    pub async fn enable_user(&self, request: admin::v1::EnableUserRequest) -> Result<auth::v1::User, Error> {
        self.call("/responsa.admin.v1.AdminService/EnableUser", request.etag.is_empty(), &request).await
    }

    /// RevokeCredentials ends all sessions of a user and revokes all API keys of the user. If the call fails, nothing is ended
    /// or revoked. The change takes effect on all servers within a second, and the user's open streams end. Keys that were
    /// created with these keys are revoked too. The user is not disabled: whoever has the password can sign in again. Codes
    /// that set a new password stay valid. If callers name themselves, the call also ends the session, or revokes the key, with
    /// which they make it. If the user is an owner of the installation, only owners may make this call.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED (the user is an owner of the installation, and the caller is not).
    pub async fn revoke_credentials(&self, request: admin::v1::RevokeCredentialsRequest) -> Result<admin::v1::RevokeCredentialsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/RevokeCredentials", true, &request).await
    }

    /// DeleteUser deletes a user with all that belongs to the user, as AuthService.DeleteMe does. A repeated call returns the
    /// same receipt, which then also counts what was deleted after the first call. If the call is interrupted, or there is much
    /// to delete, the server continues after the call. The last administrator who is not disabled cannot be deleted.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, LAST_ADMINISTRATOR, LAST_OWNER, ROLE_REQUIRED (the user is an owner, and the
    /// caller is not), INVALID_FIELD (hand_over_to), COLLECTION_NOT_EMPTY (without hand_over_to, a collection of the user holds
    /// documents of other users), SIGN_IN_REQUIRED (the caller's session began more than ten minutes ago).
    pub async fn delete_user(&self, request: admin::v1::DeleteUserRequest) -> Result<auth::v1::DeletionReceipt, Error> {
        self.call("/responsa.admin.v1.AdminService/DeleteUser", request.etag.is_empty(), &request).await
    }

    /// GrantOwnership makes another administrator of the installation's own tenant an owner of the installation. The change
    /// takes effect at once on this server, and within a second on others. Only owners may make this call. If the caller uses a
    /// session, its sign-in must be at most ten minutes old. A second call changes nothing.
    ///
    /// Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, RESOURCE_NOT_FOUND, INVALID_FIELD (the user is disabled or not an
    /// administrator).
    pub async fn grant_ownership(&self, request: admin::v1::GrantOwnershipRequest) -> Result<auth::v1::User, Error> {
        self.call("/responsa.admin.v1.AdminService/GrantOwnership", true, &request).await
    }

    /// RevokeOwnership ends the ownership of a user, who stays an administrator. Only owners may make this call. If the caller
    /// uses a session, its sign-in must be at most ten minutes old. The last enabled owner's ownership cannot be revoked. A
    /// second call changes nothing.
    ///
    /// Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, RESOURCE_NOT_FOUND, LAST_OWNER.
    pub async fn revoke_ownership(&self, request: admin::v1::RevokeOwnershipRequest) -> Result<auth::v1::User, Error> {
        self.call("/responsa.admin.v1.AdminService/RevokeOwnership", true, &request).await
    }

    /// CreateServiceGrant lets a service act on behalf of one user, or of all users with the role USER. A grant always lets a
    /// service act for users with the role USER, and never for another service, so grants cannot form a cycle. A second call
    /// for the same service and user returns the same grant.
    ///
    /// Errors: INVALID_FIELD (the service or the user has another role or is disabled), RESOURCE_NOT_FOUND.
    pub async fn create_service_grant(&self, request: admin::v1::CreateServiceGrantRequest) -> Result<admin::v1::ServiceGrant, Error> {
        self.call("/responsa.admin.v1.AdminService/CreateServiceGrant", true, &request).await
    }

    /// ListServiceGrants lists the tenant's grants, oldest first by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_service_grants(&self, request: admin::v1::ListServiceGrantsRequest) -> Result<admin::v1::ListServiceGrantsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListServiceGrants", true, &request).await
    }

    /// DeleteServiceGrant deletes a grant. The service's further calls on behalf of the user fail with GRANT_REQUIRED, at once
    /// on this server and within a second on others. Open streams end within a second. Running turns continue to their end.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn delete_service_grant(&self, request: admin::v1::DeleteServiceGrantRequest) -> Result<(), Error> {
        self.call("/responsa.admin.v1.AdminService/DeleteServiceGrant", false, &request).await
    }

    /// CreateTenant creates a tenant, and a code with which its first administrator registers. If administrator_name is set,
    /// the call creates no code. Instead, it creates the administrator, with an API key. The code and the key are in this
    /// response alone; InviteTenantAdministrator makes another code. Only owners of the installation may make this call. If the
    /// caller uses a session, its sign-in must be at most ten minutes old.
    ///
    /// Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, INVALID_FIELD, RESOURCE_ALREADY_EXISTS (the id is or was in use),
    /// REGISTRATION_CLOSED (without administrator_name).
    pub async fn create_tenant(&self, request: admin::v1::CreateTenantRequest) -> Result<admin::v1::CreateTenantResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/CreateTenant", false, &request).await
    }

    /// InviteTenantAdministrator makes a code with which an administrator of the tenant registers, e.g. because the first code
    /// has expired. The tenant's audit log records the call. Only owners of the installation may make this call. If the caller
    /// uses a session, its sign-in must be at most ten minutes old.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, TENANT_STATE, REGISTRATION_CLOSED, SIGN_IN_REQUIRED.
    pub async fn invite_tenant_administrator(&self, request: admin::v1::InviteTenantAdministratorRequest) -> Result<admin::v1::InviteTenantAdministratorResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/InviteTenantAdministrator", false, &request).await
    }

    /// GetTenant returns one tenant. Only owners of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND.
    pub async fn get_tenant(&self, request: admin::v1::GetTenantRequest) -> Result<admin::v1::Tenant, Error> {
        self.call("/responsa.admin.v1.AdminService/GetTenant", true, &request).await
    }

    /// ListTenants lists all tenants, erased ones included, oldest first by default. Only owners of the installation may make
    /// this call.
    ///
    /// Errors: ROLE_REQUIRED, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_tenants(&self, request: admin::v1::ListTenantsRequest) -> Result<admin::v1::ListTenantsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListTenants", true, &request).await
    }

    /// SuspendTenant suspends a tenant. Within a second, all servers refuse further calls of the tenant's users with
    /// TENANT_SUSPENDED, and end the open streams of these users. Sign-ins fail as if the tenant did not exist. The tenant's
    /// running and waiting turns are cancelled; its jobs wait until the tenant is resumed. A second call changes nothing. Only
    /// owners of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, TENANT_STATE (the installation's own tenant), SIGN_IN_REQUIRED (the caller's
    /// session began more than ten minutes ago).
    pub async fn suspend_tenant(&self, request: admin::v1::SuspendTenantRequest) -> Result<admin::v1::Tenant, Error> {
        self.call("/responsa.admin.v1.AdminService/SuspendTenant", true, &request).await
    }

    /// ResumeTenant lets the users of a suspended tenant make calls again. A second call changes nothing. Only owners of the
    /// installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, TENANT_STATE (the tenant is being erased).
    pub async fn resume_tenant(&self, request: admin::v1::ResumeTenantRequest) -> Result<admin::v1::Tenant, Error> {
        self.call("/responsa.admin.v1.AdminService/ResumeTenant", true, &request).await
    }

    /// EraseTenant suspends a tenant and begins to erase all that belongs to it: users, keys, sessions, conversations, turns,
    /// documents with their originals, vectors, cached data. The erasure cannot be stopped or undone. The response comes at
    /// once; GetTenant shows the state and the receipt. If a server stops during an erasure, another server finishes the
    /// erasure, or the same server does so later. The audit log keeps its events and the ids in them, but no network addresses.
    /// A second call changes nothing. Only owners of the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED, RESOURCE_NOT_FOUND, INVALID_FIELD (confirm_tenant_id is not the tenant's id), TENANT_STATE (the
    /// installation's own tenant), SIGN_IN_REQUIRED (the caller's session began more than ten minutes ago).
    pub async fn erase_tenant(&self, request: admin::v1::EraseTenantRequest) -> Result<admin::v1::Tenant, Error> {
        self.call("/responsa.admin.v1.AdminService/EraseTenant", true, &request).await
    }

    /// GetUserQuota returns the limits that were set for a user of the tenant, and what the user has used and stored.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_user_quota(&self, request: admin::v1::GetUserQuotaRequest) -> Result<admin::v1::UserQuota, Error> {
        self.call("/responsa.admin.v1.AdminService/GetUserQuota", true, &request).await
    }

    /// UpdateUserQuota changes the limits that update_mask names. If the call fails, it changes nothing. If the mask names a
    /// limit that the request leaves unset, the limit of the user's role applies again. A new limit applies from the user's
    /// next question on; open questions keep what they have reserved.
    ///
    /// Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, INVALID_FIELD, ETAG_MISMATCH, ROLE_REQUIRED (the user is an owner of
    /// the installation, and the caller is not).
    pub async fn update_user_quota(&self, request: admin::v1::UpdateUserQuotaRequest) -> Result<admin::v1::UserQuota, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateUserQuota", request.user_quota.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// CreateServiceApiKey creates a key for a service, which is a user of the tenant with the role SERVICE. A service cannot
    /// sign in to create a key itself. If the caller uses a session, its sign-in must be at most ten minutes old. Only this
    /// response contains the secret, because the server keeps no copy. A repeated call with the same request_id returns the key
    /// without its secret. Calls with the key are made as the service, not as the administrator who created the key. The key
    /// becomes invalid when the service is deleted or gets another role. The key stays valid if the caller is deleted or the
    /// caller's key is revoked.
    ///
    /// Errors: RESOURCE_NOT_FOUND (the service or the agent), INVALID_FIELD (the user is not a service), REQUEST_ID_REUSED,
    /// SIGN_IN_REQUIRED, ROLE_REQUIRED (the user is an owner of the installation, and the caller is not), LIMIT_REACHED (the
    /// service has too many keys that are neither revoked nor expired).
    pub async fn create_service_api_key(&self, mut request: admin::v1::CreateServiceApiKeyRequest) -> Result<admin::v1::CreateServiceApiKeyResponse, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.admin.v1.AdminService/CreateServiceApiKey", false, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// ListTenantApiKeys lists the keys of all users of the tenant, keys of owners of the installation included, newest first
    /// by default. The list includes revoked keys.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_tenant_api_keys(&self, request: admin::v1::ListTenantApiKeysRequest) -> Result<admin::v1::ListTenantApiKeysResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListTenantApiKeys", true, &request).await
    }

    /// RevokeTenantApiKey revokes a key of any user of the tenant at once, together with all keys that were created with it and
    /// all sessions that these keys began. Revoking a key again changes nothing.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED (it is a key of an owner of the installation, and the caller is not an owner).
    pub async fn revoke_tenant_api_key(&self, request: admin::v1::RevokeTenantApiKeyRequest) -> Result<auth::v1::ApiKey, Error> {
        self.call("/responsa.admin.v1.AdminService/RevokeTenantApiKey", true, &request).await
    }

    /// ListTenantSessions lists the sessions of all users of the tenant that have not ended, newest first by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_tenant_sessions(&self, request: admin::v1::ListTenantSessionsRequest) -> Result<admin::v1::ListTenantSessionsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListTenantSessions", true, &request).await
    }

    /// RevokeTenantSessions ends sessions of users of the tenant on all servers within a second, open streams included. Names
    /// of sessions that do not exist are ignored. The users can sign in again; DisableUser keeps a user out. Only an owner may
    /// end the sessions of an owner.
    ///
    /// Errors: INVALID_FIELD, ROLE_REQUIRED.
    pub async fn revoke_tenant_sessions(&self, request: admin::v1::RevokeTenantSessionsRequest) -> Result<admin::v1::RevokeTenantSessionsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/RevokeTenantSessions", true, &request).await
    }

    /// ListAuditEvents lists the tenant's audit log, newest first by default. The log has an event for each change that a call
    /// of this service makes, for each act on a user or a key, and for each cancellation or deletion of a resource of another
    /// user. If the server refuses such a change, or refuses a call of this service because the caller lacks the right, the log
    /// also has an event. Invalid requests leave no event. The server's settings determine how long it keeps the events.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_audit_events(&self, request: admin::v1::ListAuditEventsRequest) -> Result<admin::v1::ListAuditEventsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListAuditEvents", true, &request).await
    }

    /// QueryUsage counts what the tenant's users have asked, searched and uploaded, by period and group, ordered by time. The
    /// counts of all users together include those of deleted users. The call returns at most 10,000 rows.
    ///
    /// Errors: INVALID_FIELD (the time is empty, or the report would have more rows).
    pub async fn query_usage(&self, request: admin::v1::QueryUsageRequest) -> Result<admin::v1::QueryUsageResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/QueryUsage", true, &request).await
    }

    /// ListFeedback lists the feedback of the tenant's users, the latest first by default. Feedback is deleted with its
    /// conversation.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_feedback(&self, request: admin::v1::ListFeedbackRequest) -> Result<admin::v1::ListFeedbackResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListFeedback", true, &request).await
    }

    /// ResolveFeedback sets the state of feedback, with a note. The user who gave the feedback sees neither.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn resolve_feedback(&self, request: admin::v1::ResolveFeedbackRequest) -> Result<admin::v1::GivenFeedback, Error> {
        self.call("/responsa.admin.v1.AdminService/ResolveFeedback", true, &request).await
    }

    /// GetShownExchange returns the question and the answer to which feedback belongs, if the user shows them, whatever
    /// InsightSettings.question_texts says. The audit log records each call.
    ///
    /// Errors: RESOURCE_NOT_FOUND (also if the user does not show them, or no longer).
    pub async fn get_shown_exchange(&self, request: admin::v1::GetShownExchangeRequest) -> Result<admin::v1::ShownExchange, Error> {
        self.call("/responsa.admin.v1.AdminService/GetShownExchange", true, &request).await
    }

    /// GetFeedbackStats counts the feedback that was given or changed in a time, by agent.
    ///
    /// Errors: INVALID_FIELD (the time is empty).
    pub async fn get_feedback_stats(&self, request: admin::v1::GetFeedbackStatsRequest) -> Result<admin::v1::GetFeedbackStatsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/GetFeedbackStats", true, &request).await
    }

    /// GetQualityStats says how well the turns that were asked in a time went: all together first, then by agent; and, with a
    /// granularity, in each period.
    ///
    /// Errors: INVALID_FIELD (the time is empty, or has more than 1,000 periods).
    pub async fn get_quality_stats(&self, request: admin::v1::GetQualityStatsRequest) -> Result<admin::v1::GetQualityStatsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/GetQualityStats", true, &request).await
    }

    /// ListTenantTurns lists the turns of the tenant's users that were asked in a time and have ended, newest first by default.
    /// Turns are deleted with their conversation.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID, INVALID_FIELD (the time is empty).
    pub async fn list_tenant_turns(&self, request: admin::v1::ListTenantTurnsRequest) -> Result<admin::v1::ListTenantTurnsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListTenantTurns", true, &request).await
    }

    /// ListQuestionPatterns groups the questions of the tenant's users by meaning, and says how many there are and what became
    /// of them, those of the most questions first. With the outcome NO_SUPPORT, it says what the documents lack. A question
    /// counts once, also when its conversation has been deleted.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, INVALID_FIELD (the time is empty).
    pub async fn list_question_patterns(&self, request: admin::v1::ListQuestionPatternsRequest) -> Result<admin::v1::ListQuestionPatternsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListQuestionPatterns", true, &request).await
    }

    /// UpdateQuestionPattern changes the fields that update_mask names (state, note, assignee), and returns the pattern without
    /// what a report counts or names. A pattern that is DONE opens again, as REOPENED, when no document supports an answer to a
    /// later question. The users who asked see nothing of it.
    ///
    /// Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH, INVALID_FIELD (the assignee is not an active
    /// administrator).
    pub async fn update_question_pattern(&self, request: admin::v1::UpdateQuestionPatternRequest) -> Result<admin::v1::QuestionPattern, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateQuestionPattern", request.question_pattern.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// GetInsightSettings returns the tenant's settings.
    pub async fn get_insight_settings(&self, request: admin::v1::GetInsightSettingsRequest) -> Result<admin::v1::InsightSettings, Error> {
        self.call("/responsa.admin.v1.AdminService/GetInsightSettings", true, &request).await
    }

    /// UpdateInsightSettings changes the settings that update_mask names (question_texts, cost_usd_micros_per_month).
    ///
    /// Errors: UPDATE_MASK_INVALID.
    pub async fn update_insight_settings(&self, request: admin::v1::UpdateInsightSettingsRequest) -> Result<admin::v1::InsightSettings, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateInsightSettings", true, &request).await
    }

    /// GetModels returns the language models that agents use by default, and the providers that can be chosen. Only owners of
    /// the installation may make this call.
    ///
    /// Errors: ROLE_REQUIRED.
    pub async fn get_models(&self, request: admin::v1::GetModelsRequest) -> Result<admin::v1::ModelSettings, Error> {
        self.call("/responsa.admin.v1.AdminService/GetModels", true, &request).await
    }

    /// SetDefaultModel stores the model that `default` stands for in the chains of agents, or with an empty `default_model`,
    /// that there is none. All servers use it for new questions within seconds; running turns keep their models. Unless
    /// skip_test is set, the server first tests the model as TestModel does, and changes nothing if the test fails. The model
    /// cannot be set while the setting models.default of the server names models. Only owners of the installation may make this
    /// call. If the caller uses a session, its sign-in must be at most ten minutes old.
    ///
    /// Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, INVALID_FIELD, MODEL_FIXED, MODEL_TEST_FAILED, PRICE_UNKNOWN.
    pub async fn set_default_model(&self, request: admin::v1::SetDefaultModelRequest) -> Result<admin::v1::ModelSettings, Error> {
        self.call("/responsa.admin.v1.AdminService/SetDefaultModel", true, &request).await
    }

    /// TestModel sends a model what agents send, step by step, with a key and an address that need not be stored, for at most
    /// two minutes. What the model's server refuses is learned for all servers. The test fails only if no answer can come.
    /// Without a model, it asks the provider which models it has. The stored key is sent only to the stored address. The call
    /// succeeds if the test fails; the outcome says why. Only owners of the installation may make this call. If the caller uses
    /// a session, its sign-in must be at most ten minutes old.
    ///
    /// Errors: ROLE_REQUIRED, SIGN_IN_REQUIRED, INVALID_FIELD.
    pub async fn test_model(&self, request: admin::v1::TestModelRequest) -> Result<admin::v1::TestModelResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/TestModel", false, &request).await
    }

    /// CreateGroup creates a group without members.
    ///
    /// Errors: INVALID_FIELD, REQUEST_ID_REUSED, RESOURCE_ALREADY_EXISTS (another group has the group_id).
    pub async fn create_group(&self, mut request: admin::v1::CreateGroupRequest) -> Result<admin::v1::Group, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.admin.v1.AdminService/CreateGroup", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// GetGroup returns one group. Everyone in the tenant may make this call.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_group(&self, request: admin::v1::GetGroupRequest) -> Result<admin::v1::Group, Error> {
        self.call("/responsa.admin.v1.AdminService/GetGroup", true, &request).await
    }

    /// ListGroups lists the tenant's groups, oldest first by default. Everyone in the tenant may make this call, to share a
    /// collection with a group.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_groups(&self, request: admin::v1::ListGroupsRequest) -> Result<admin::v1::ListGroupsResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListGroups", true, &request).await
    }

    /// UpdateGroup changes the fields that update_mask names (display_name, provider_groups). If the call fails, it changes
    /// nothing.
    ///
    /// Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, INVALID_FIELD, ETAG_MISMATCH.
    pub async fn update_group(&self, request: admin::v1::UpdateGroupRequest) -> Result<admin::v1::Group, Error> {
        self.call("/responsa.admin.v1.AdminService/UpdateGroup", request.group.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// DeleteGroup deletes a group. From the next call on, its members can no longer read the collections that were shared with
    /// them by this group alone.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH.
    pub async fn delete_group(&self, request: admin::v1::DeleteGroupRequest) -> Result<(), Error> {
        self.call("/responsa.admin.v1.AdminService/DeleteGroup", false, &request).await
    }

    /// AddGroupMembers adds users, and whoever registers with some open invitations, to a group. From the next call on, they
    /// can read the collections that are shared with the group. A user who is a member already stays one. If the call fails, it
    /// adds nobody.
    ///
    /// Errors: RESOURCE_NOT_FOUND, INVALID_FIELD (one of the users does not exist).
    pub async fn add_group_members(&self, request: admin::v1::AddGroupMembersRequest) -> Result<admin::v1::Group, Error> {
        self.call("/responsa.admin.v1.AdminService/AddGroupMembers", true, &request).await
    }

    /// RemoveGroupMembers removes users from a group. From the next call on, they can no longer read the collections that were
    /// shared with them by this group alone; their open streams show it within a second. A user who is no member changes
    /// nothing.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn remove_group_members(&self, request: admin::v1::RemoveGroupMembersRequest) -> Result<admin::v1::Group, Error> {
        self.call("/responsa.admin.v1.AdminService/RemoveGroupMembers", true, &request).await
    }

    /// ListGroupMembers lists the members of a group, disabled users included, in the order in which they became members by
    /// default.
    ///
    /// Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_group_members(&self, request: admin::v1::ListGroupMembersRequest) -> Result<admin::v1::ListGroupMembersResponse, Error> {
        self.call("/responsa.admin.v1.AdminService/ListGroupMembers", true, &request).await
    }

    /// ListSignInMethods shows how people sign in to a tenant and who may register. The response lists the tenant's OpenID
    /// Connect providers on one page, ordered by their ids. Passwords always work for users who have one. A tenant that does
    /// not exist gets the same reply as a tenant without providers.
    ///
    /// Errors: INVALID_FIELD.
    pub async fn list_sign_in_methods(&self, request: auth::v1::ListSignInMethodsRequest) -> Result<auth::v1::ListSignInMethodsResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/ListSignInMethods", true, &request).await
    }

    /// Login begins a session with an e-mail address and a password. Neither the reply nor the response time shows whether the
    /// account exists. Failed attempts are counted for each account (tenant and e-mail address) and for each network address.
    /// Beyond a limit, the server refuses attempts for a while, even with the right password.
    ///
    /// Errors: SIGN_IN_FAILED, TOO_MANY_ATTEMPTS, OVERLOADED.
    pub async fn login(&self, request: auth::v1::LoginRequest) -> Result<auth::v1::LoginResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/Login", false, &request).await
    }

    /// RefreshToken exchanges a refresh token for a new access token and the next refresh token. A refresh token works once. If
    /// the reply is lost, a repeated call with the same refresh token and the same request_id gets the same reply for 60 s,
    /// unless the next refresh token was used. If neither call has a request_id, the repeated call gets the same reply for 5 s,
    /// and only from the same network address (IPv6: the same /64). In these 5 s, a thief at this address gets the tokens, too,
    /// and is noticed only when the next refresh token is used twice; with a request_id, the thief is noticed at once. Any
    /// other second use of a refresh token ends its session on all servers within a second, because the token may have been
    /// stolen.
    ///
    /// Errors: TOKEN_INVALID.
    pub async fn refresh_token(&self, mut request: auth::v1::RefreshTokenRequest) -> Result<auth::v1::RefreshTokenResponse, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.auth.v1.AuthService/RefreshToken", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// Logout ends the session of a refresh token, or, without one, the session of the access token with which the call is
    /// made. With a refresh token, the call succeeds whether or not the session exists. Errors without a refresh token:
    /// INVALID_FIELD (no access token either), TOKEN_INVALID, USER_DISABLED, TENANT_SUSPENDED.
    pub async fn logout(&self, request: auth::v1::LogoutRequest) -> Result<(), Error> {
        self.call("/responsa.auth.v1.AuthService/Logout", true, &request).await
    }

    /// GetJwks returns the public keys that verify access tokens (RFC 7517). The gateway serves the same keys at /.well-
    /// known/jwks.json.
    ///
    /// Errors: PART_UNAVAILABLE.
    pub async fn get_jwks(&self, request: auth::v1::GetJwksRequest) -> Result<auth::v1::GetJwksResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/GetJwks", true, &request).await
    }

    /// ListSessions lists the caller's sessions that have not ended, newest first by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_sessions(&self, request: auth::v1::ListSessionsRequest) -> Result<auth::v1::ListSessionsResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/ListSessions", true, &request).await
    }

    /// RevokeSessions ends sessions of the caller on all servers within a second, open streams included. Names of sessions that
    /// do not exist are ignored.
    ///
    /// Errors: INVALID_FIELD.
    pub async fn revoke_sessions(&self, request: auth::v1::RevokeSessionsRequest) -> Result<auth::v1::RevokeSessionsResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/RevokeSessions", true, &request).await
    }

    /// ChangePassword sets the caller's password, and ends the caller's other sessions. The call needs the current password. If
    /// no password is set, it needs a session that began in the last ten minutes. Failed attempts count like failed attempts of
    /// Login.
    ///
    /// Errors: INVALID_FIELD, SIGN_IN_FAILED, SIGN_IN_REQUIRED, PASSWORD_NOT_USABLE, TOO_MANY_ATTEMPTS, OVERLOADED.
    pub async fn change_password(&self, request: auth::v1::ChangePasswordRequest) -> Result<(), Error> {
        self.call("/responsa.auth.v1.AuthService/ChangePassword", false, &request).await
    }

    /// UpdateMe changes the fields of the caller that the mask names: display_name, email. A new e-mail address needs a session
    /// that began in the last ten minutes, and a mail server. The server mails a code to the new address; ConfirmEmail with
    /// this code changes the address. The reply still has the old address. The reply does not show whether another user has the
    /// new address. A caller who already has an address also needs a password, because ConfirmEmail asks for it.
    ///
    /// Errors: INVALID_FIELD, UPDATE_MASK_INVALID, ETAG_MISMATCH, SIGN_IN_REQUIRED, PASSWORD_NOT_USABLE, MAIL_NOT_CONFIGURED,
    /// TOO_MANY_ATTEMPTS.
    pub async fn update_me(&self, request: auth::v1::UpdateMeRequest) -> Result<auth::v1::User, Error> {
        self.call("/responsa.auth.v1.AuthService/UpdateMe", request.user.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// DeleteMe deletes the caller with all that belongs to the caller: conversations with their turns and messages, documents,
    /// collections, keys, sessions, codes, invitations and operations. Running turns are cancelled first. Answers of other
    /// users that quote one of the documents are withdrawn: they become refusals with the reason SOURCE_ERASED. The audit log
    /// keeps the caller's UUID, but not the caller's network addresses. The call needs a session that began in the last ten
    /// minutes; an API key is not enough. Afterwards, no credential of the caller is valid. If the call is interrupted, or
    /// there is much to delete, the server continues after the call. The last administrator who is not disabled cannot be
    /// deleted.
    ///
    /// Errors: SIGN_IN_REQUIRED, LAST_ADMINISTRATOR, LAST_OWNER, INVALID_FIELD (hand_over_to), COLLECTION_NOT_EMPTY (without
    /// hand_over_to, a collection of the caller holds documents of other users).
    pub async fn delete_me(&self, request: auth::v1::DeleteMeRequest) -> Result<auth::v1::DeletionReceipt, Error> {
        self.call("/responsa.auth.v1.AuthService/DeleteMe", false, &request).await
    }

    /// ListIdentities lists the caller's identities at OpenID Connect providers, on one page, oldest first. The caller can sign
    /// in with each of these identities. A browser connects another identity with POST /v1/oidc/{id}:start and `"link": true`.
    pub async fn list_identities(&self, request: auth::v1::ListIdentitiesRequest) -> Result<auth::v1::ListIdentitiesResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/ListIdentities", true, &request).await
    }

    /// UnlinkIdentity removes an identity from the caller: nobody can sign in with it any more. Open sessions continue. The
    /// call needs a session that began in the last ten minutes. The last way to sign in cannot be removed: a caller without a
    /// password must have another identity, at a provider that the settings still declare.
    ///
    /// Errors: RESOURCE_NOT_FOUND, SIGN_IN_REQUIRED, LAST_SIGN_IN.
    pub async fn unlink_identity(&self, request: auth::v1::UnlinkIdentityRequest) -> Result<(), Error> {
        self.call("/responsa.auth.v1.AuthService/UnlinkIdentity", false, &request).await
    }

    /// CreateInvitation creates a code with which one person can register in the caller's tenant. Only administrators may make
    /// this call. The server keeps no copy of the code. The call has no request_id: if a code is lost, it expires, and another
    /// call creates a new code. If the caller invites an administrator and uses a session, the sign-in of this session must be
    /// at most ten minutes old.
    ///
    /// Errors: INVALID_FIELD, REGISTRATION_CLOSED, SIGN_IN_REQUIRED, RESOURCE_NOT_FOUND (a group).
    pub async fn create_invitation(&self, request: auth::v1::CreateInvitationRequest) -> Result<auth::v1::CreateInvitationResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/CreateInvitation", false, &request).await
    }

    /// ListInvitations lists the tenant's invitations that are neither used nor expired, newest first by default. Only
    /// administrators may make this call.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_invitations(&self, request: auth::v1::ListInvitationsRequest) -> Result<auth::v1::ListInvitationsResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/ListInvitations", true, &request).await
    }

    /// RevokeInvitation ends an invitation: nobody can register with its code afterwards. Only administrators may make this
    /// call. If somebody has already registered with the code, the account stays.
    ///
    /// Errors: RESOURCE_NOT_FOUND (also for an invitation that was used, has expired or was revoked before).
    pub async fn revoke_invitation(&self, request: auth::v1::RevokeInvitationRequest) -> Result<(), Error> {
        self.call("/responsa.auth.v1.AuthService/RevokeInvitation", true, &request).await
    }

    /// Register creates an account, with an invitation or, where the settings allow it, without one. If the e-mail address is
    /// taken, the reply is the same as for a free address. The invitation is used up, but no account is created. If the server
    /// sends mails, it mails a code to the address. When ConfirmEmail is called with this code, the account becomes usable, and
    /// the invitation is used up. If an invitation names the address, the registration needs no confirmation. Afterwards, the
    /// person signs in with Login.
    ///
    /// Errors: INVALID_FIELD, REGISTRATION_CLOSED, CODE_INVALID, OVERLOADED, TOO_MANY_ATTEMPTS.
    pub async fn register(&self, request: auth::v1::RegisterRequest) -> Result<(), Error> {
        self.call("/responsa.auth.v1.AuthService/Register", false, &request).await
    }

    /// ConfirmEmail confirms an e-mail address with the code that was mailed to it. The code works once, within 24 hours. The
    /// call creates the registered account, or changes the address of a user. The call also needs a password: for a new
    /// account, the password of the registration; for a new address, the password of the account. Therefore, a person who can
    /// read the mails but does not know the password cannot confirm the address. Nobody gets an account whose password a
    /// stranger knows. If an account without a password gets its first address, the call needs no password. A wrong password
    /// does not use up the code, and counts like a failed Login.
    ///
    /// Errors: CODE_INVALID (also if the address was taken in the meantime), INVALID_FIELD (the password is missing),
    /// SIGN_IN_FAILED, TOO_MANY_ATTEMPTS, OVERLOADED.
    pub async fn confirm_email(&self, request: auth::v1::ConfirmEmailRequest) -> Result<(), Error> {
        self.call("/responsa.auth.v1.AuthService/ConfirmEmail", false, &request).await
    }

    /// RequestReset mails a code for ResetPassword to the address of an account. The code works once, within 30 minutes.
    /// Neither the reply nor the response time shows whether the account exists. Only a few mails are sent to an address in a
    /// quarter of an hour.
    ///
    /// Errors: INVALID_FIELD, MAIL_NOT_CONFIGURED, TOO_MANY_ATTEMPTS.
    pub async fn request_reset(&self, request: auth::v1::RequestResetRequest) -> Result<(), Error> {
        self.call("/responsa.auth.v1.AuthService/RequestReset", false, &request).await
    }

    /// CreateResetCode creates a code with which a user of the caller's tenant sets a new password. The code works once, within
    /// 30 minutes. Only administrators may make this call; they hand the code to the user. If the caller uses a session, its
    /// sign-in must be at most ten minutes old.
    ///
    /// Errors: RESOURCE_NOT_FOUND, PASSWORD_NOT_USABLE, SIGN_IN_REQUIRED.
    pub async fn create_reset_code(&self, request: auth::v1::CreateResetCodeRequest) -> Result<auth::v1::CreateResetCodeResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/CreateResetCode", false, &request).await
    }

    /// ResetPassword sets a password with a reset code, and ends all sessions of the user. A refused password does not use up
    /// the code.
    ///
    /// Errors: INVALID_FIELD, CODE_INVALID, OVERLOADED.
    pub async fn reset_password(&self, request: auth::v1::ResetPasswordRequest) -> Result<(), Error> {
        self.call("/responsa.auth.v1.AuthService/ResetPassword", false, &request).await
    }

    /// GetMe returns the caller.
    pub async fn get_me(&self, request: auth::v1::GetMeRequest) -> Result<auth::v1::User, Error> {
        self.call("/responsa.auth.v1.AuthService/GetMe", true, &request).await
    }

    /// GetMyUsage returns what the caller's questions have used and reserved in the current day and month, and what the caller
    /// has stored. It also returns the limits that apply to the caller's use and storage.
    pub async fn get_my_usage(&self, request: auth::v1::GetMyUsageRequest) -> Result<auth::v1::UserUsage, Error> {
        self.call("/responsa.auth.v1.AuthService/GetMyUsage", true, &request).await
    }

    /// QueryMyUsage counts what the caller has asked, searched and uploaded, by period and group, ordered by time. The call
    /// returns at most 10,000 rows.
    ///
    /// Errors: INVALID_FIELD (the time is empty, or the report would have more rows).
    pub async fn query_my_usage(&self, request: auth::v1::QueryMyUsageRequest) -> Result<auth::v1::QueryMyUsageResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/QueryMyUsage", true, &request).await
    }

    /// CreateSessionCode creates a code that a browser exchanges for a session of the caller (POST /v1/sessions). The code
    /// works once, within ten minutes. A code that is made in a session ends with that session. The new session has the same
    /// sign-in time as the session that made the code. This matters for calls that need a recent sign-in. The call has no
    /// request_id: if a code is lost, it expires, and another call creates a new code.
    ///
    /// Errors: ROLE_REQUIRED (services have no sessions).
    pub async fn create_session_code(&self, request: auth::v1::CreateSessionCodeRequest) -> Result<auth::v1::CreateSessionCodeResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/CreateSessionCode", false, &request).await
    }

    /// CreateApiKey creates a key for the caller. If the caller uses a session, its sign-in must be at most ten minutes old.
    /// Only this response contains the secret, because the server keeps no copy. A repeated call with the same request_id
    /// returns the key without its secret. To replace a lost secret, revoke the key and create another key. A key that is
    /// created with another key never outlives that key.
    ///
    /// Errors: INVALID_FIELD, RESOURCE_NOT_FOUND (the agent), REQUEST_ID_REUSED, SIGN_IN_REQUIRED, LIMIT_REACHED (too many keys
    /// that are neither revoked nor expired).
    pub async fn create_api_key(&self, mut request: auth::v1::CreateApiKeyRequest) -> Result<auth::v1::CreateApiKeyResponse, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.auth.v1.AuthService/CreateApiKey", false, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// ListApiKeys lists the caller's keys, newest first by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_api_keys(&self, request: auth::v1::ListApiKeysRequest) -> Result<auth::v1::ListApiKeysResponse, Error> {
        self.call("/responsa.auth.v1.AuthService/ListApiKeys", true, &request).await
    }

    /// RevokeApiKey revokes one of the caller's keys at once, together with all keys that were created with it and all sessions
    /// that these keys began. Revoking a key again changes nothing.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn revoke_api_key(&self, request: auth::v1::RevokeApiKeyRequest) -> Result<auth::v1::ApiKey, Error> {
        self.call("/responsa.auth.v1.AuthService/RevokeApiKey", true, &request).await
    }

    /// StartTurn is Ask without a stream: it returns the turn as soon as the server has accepted the turn. The call fails with
    /// the same errors as Ask before it accepts a turn.
    pub async fn start_turn(&self, mut request: chat::v1::StartTurnRequest) -> Result<chat::v1::Turn, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.chat.v1.ChatService/StartTurn", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// Answer is Ask without a stream: it waits until the turn has ended, and returns the turn with its terminal event. A
    /// failed turn is returned like any other turn. If the caller's deadline passes first (DEADLINE_EXCEEDED), the turn
    /// continues; call again with the same request_id. All other errors are those of Ask before it accepts a turn.
    pub async fn answer(&self, mut request: chat::v1::AnswerRequest) -> Result<chat::v1::Turn, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.chat.v1.ChatService/Answer", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// GenerateText asks the agent's language model alone, for programs' own chores such as the title of a chat. It searches no
    /// documents, and stores neither the messages nor the text. What the model uses counts towards the caller's quota, and the
    /// call towards a limit of its own (`limits.generations_per_minute`), and not towards the messages a minute.
    ///
    /// Errors: INVALID_FIELD (also for `json_schema`, if the agent writes no JSON), RESOURCE_NOT_FOUND (the agent),
    /// AGENT_WITHOUT_MODEL, MODEL_UNAVAILABLE, RATE_LIMIT, QUOTA_EXHAUSTED.
    pub async fn generate_text(&self, request: chat::v1::GenerateTextRequest) -> Result<chat::v1::GenerateTextResponse, Error> {
        self.call("/responsa.chat.v1.ChatService/GenerateText", false, &request).await
    }

    /// CancelTurn cancels a turn, and the turn's worker stops running it. The turn's owner and the tenant's administrators may
    /// call CancelTurn. The call returns the turn with its terminal event; a turn that had already ended keeps its terminal
    /// event. Cancelling a turn again changes nothing. A cancelled turn leaves no message in the conversation, but its cost is
    /// recorded. An administrator gets the turn of another user without its question, parameters and answer.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn cancel_turn(&self, request: chat::v1::CancelTurnRequest) -> Result<chat::v1::Turn, Error> {
        self.call("/responsa.chat.v1.ChatService/CancelTurn", true, &request).await
    }

    /// GetTurn returns one turn. If the caller may no longer read a document that the turn has read, a refusal (NOT_PERMITTED)
    /// replaces the answer. The same applies to all other calls that return turns or messages.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_turn(&self, request: chat::v1::GetTurnRequest) -> Result<chat::v1::Turn, Error> {
        self.call("/responsa.chat.v1.ChatService/GetTurn", true, &request).await
    }

    /// ListTurns lists the caller's turns, newest first by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_turns(&self, request: chat::v1::ListTurnsRequest) -> Result<chat::v1::ListTurnsResponse, Error> {
        self.call("/responsa.chat.v1.ChatService/ListTurns", true, &request).await
    }

    /// CreateConversation creates an empty conversation.
    ///
    /// Errors: INVALID_FIELD, REQUEST_ID_REUSED, LIMIT_REACHED (conversations, stored bytes).
    pub async fn create_conversation(&self, mut request: chat::v1::CreateConversationRequest) -> Result<chat::v1::Conversation, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.chat.v1.ChatService/CreateConversation", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// GetConversation returns one conversation.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_conversation(&self, request: chat::v1::GetConversationRequest) -> Result<chat::v1::Conversation, Error> {
        self.call("/responsa.chat.v1.ChatService/GetConversation", true, &request).await
    }

    /// ListConversations lists the caller's conversations, most recently changed first by default. It leaves out a conversation
    /// without a title of its own in which questions failed and nothing else has happened.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_conversations(&self, request: chat::v1::ListConversationsRequest) -> Result<chat::v1::ListConversationsResponse, Error> {
        self.call("/responsa.chat.v1.ChatService/ListConversations", true, &request).await
    }

    /// SearchConversations finds the caller's conversations by the words of their titles and messages, most recently changed
    /// first by default.
    ///
    /// Errors: INVALID_FIELD, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn search_conversations(&self, request: chat::v1::SearchConversationsRequest) -> Result<chat::v1::SearchConversationsResponse, Error> {
        self.call("/responsa.chat.v1.ChatService/SearchConversations", true, &request).await
    }

    /// UpdateConversation changes the fields that update_mask names (title, labels, pinned, archived). If the call fails, it
    /// changes nothing.
    ///
    /// Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH.
    pub async fn update_conversation(&self, request: chat::v1::UpdateConversationRequest) -> Result<chat::v1::Conversation, Error> {
        self.call("/responsa.chat.v1.ChatService/UpdateConversation", request.conversation.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// DeleteConversation deletes a conversation with its messages, its turns and their logs, in one transaction.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, CONVERSATION_BUSY (a turn has not ended).
    pub async fn delete_conversation(&self, request: chat::v1::DeleteConversationRequest) -> Result<(), Error> {
        self.call("/responsa.chat.v1.ChatService/DeleteConversation", false, &request).await
    }

    /// ListMessages lists the messages of a conversation, oldest first by default.
    ///
    /// Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_messages(&self, request: chat::v1::ListMessagesRequest) -> Result<chat::v1::ListMessagesResponse, Error> {
        self.call("/responsa.chat.v1.ChatService/ListMessages", true, &request).await
    }

    /// GetMessage returns one message with its citations.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_message(&self, request: chat::v1::GetMessageRequest) -> Result<chat::v1::Message, Error> {
        self.call("/responsa.chat.v1.ChatService/GetMessage", true, &request).await
    }

    /// SubmitFeedback stores the caller's opinion of an answer. It replaces earlier feedback on the same answer. Only the user
    /// who asked may give feedback.
    ///
    /// Errors: RESOURCE_NOT_FOUND (also for a turn without an answer), INVALID_FIELD (the message is a question; there is
    /// neither a rating nor a score, or both).
    pub async fn submit_feedback(&self, request: chat::v1::SubmitFeedbackRequest) -> Result<chat::v1::Feedback, Error> {
        self.call("/responsa.chat.v1.ChatService/SubmitFeedback", true, &request).await
    }

    /// GetFeedback returns the caller's feedback on an answer.
    ///
    /// Errors: RESOURCE_NOT_FOUND (also if the caller has given no feedback).
    pub async fn get_feedback(&self, request: chat::v1::GetFeedbackRequest) -> Result<chat::v1::Feedback, Error> {
        self.call("/responsa.chat.v1.ChatService/GetFeedback", true, &request).await
    }

    /// VerifyCitations checks every citation of an answer against the current documents, and returns the verdicts in the order
    /// of the citations.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn verify_citations(&self, request: chat::v1::VerifyCitationsRequest) -> Result<chat::v1::VerifyCitationsResponse, Error> {
        self.call("/responsa.chat.v1.ChatService/VerifyCitations", true, &request).await
    }

    /// ShareTurn shares the answer of one of the caller's turns within the tenant, and returns the share without its answer. A
    /// turn has at most one share: if it is shared already, the call only sets when the share ends.
    ///
    /// Errors: RESOURCE_NOT_FOUND, INVALID_FIELD (the turn has no answer that the caller may read, or expire_time is less than
    /// a minute from now or later than the installation allows).
    pub async fn share_turn(&self, request: chat::v1::ShareTurnRequest) -> Result<chat::v1::Share, Error> {
        self.call("/responsa.chat.v1.ChatService/ShareTurn", true, &request).await
    }

    /// GetShare returns a share with its answer to any caller of the tenant.
    ///
    /// Errors: RESOURCE_NOT_FOUND (also for a share that has ended or was revoked, whose turn was deleted, or whose sharer may
    /// no longer read a document that the turn has read).
    pub async fn get_share(&self, request: chat::v1::GetShareRequest) -> Result<chat::v1::Share, Error> {
        self.call("/responsa.chat.v1.ChatService/GetShare", true, &request).await
    }

    /// ListShares lists the caller's shares that have not ended, without their answers, newest first by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_shares(&self, request: chat::v1::ListSharesRequest) -> Result<chat::v1::ListSharesResponse, Error> {
        self.call("/responsa.chat.v1.ChatService/ListShares", true, &request).await
    }

    /// RevokeShare ends one of the caller's shares at once.
    ///
    /// Errors: RESOURCE_NOT_FOUND (also for a share that was revoked before or has ended).
    pub async fn revoke_share(&self, request: chat::v1::RevokeShareRequest) -> Result<(), Error> {
        self.call("/responsa.chat.v1.ChatService/RevokeShare", false, &request).await
    }

    /// ListAgents lists the agents that answer questions, ordered by name by default.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_agents(&self, request: chat::v1::ListAgentsRequest) -> Result<chat::v1::ListAgentsResponse, Error> {
        self.call("/responsa.chat.v1.ChatService/ListAgents", true, &request).await
    }

    /// GetAgent returns one agent with the schema of its parameters. If a parameter names a resource, the schema lists the
    /// resources that the caller may choose.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_agent(&self, request: chat::v1::GetAgentRequest) -> Result<chat::v1::Agent, Error> {
        self.call("/responsa.chat.v1.ChatService/GetAgent", true, &request).await
    }

    /// ListTools lists the tools that the caller may use through at least one agent, ordered by name by default. An owner of
    /// the installation gets all declared tools, with their problems.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_tools(&self, request: chat::v1::ListToolsRequest) -> Result<chat::v1::ListToolsResponse, Error> {
        self.call("/responsa.chat.v1.ChatService/ListTools", true, &request).await
    }

    /// GetTool returns one of the tools that ListTools lists for the caller.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_tool(&self, request: chat::v1::GetToolRequest) -> Result<chat::v1::Tool, Error> {
        self.call("/responsa.chat.v1.ChatService/GetTool", true, &request).await
    }

    /// CreateCollection creates an empty collection that belongs to the caller. It is private unless the request names readers.
    ///
    /// Errors: RESOURCE_ALREADY_EXISTS (the caller has a collection with this id, or the conversation has one for its files),
    /// RESOURCE_NOT_FOUND (the conversation), REQUEST_ID_REUSED, INVALID_FIELD (also for a reader that is not a user of the
    /// tenant), LIMIT_REACHED (collections).
    pub async fn create_collection(&self, mut request: knowledge::v1::CreateCollectionRequest) -> Result<knowledge::v1::Collection, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.knowledge.v1.KnowledgeService/CreateCollection", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// GetCollection returns one collection.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_collection(&self, request: knowledge::v1::GetCollectionRequest) -> Result<knowledge::v1::Collection, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/GetCollection", true, &request).await
    }

    /// ListCollections lists the collections that the caller may read, ordered by name by default. Administrators also get the
    /// collections that they may not read.
    ///
    /// Errors: PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_collections(&self, request: knowledge::v1::ListCollectionsRequest) -> Result<knowledge::v1::ListCollectionsResponse, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/ListCollections", true, &request).await
    }

    /// UpdateCollection changes the fields that update_mask names (display_name, synonyms, readers, suggested_questions). The
    /// collection's owner and administrators may call this method.
    ///
    /// Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH, ROLE_REQUIRED, INVALID_FIELD (synonyms with mistakes:
    /// one violation for each of the first 16 lines; a reader that is not a user of the tenant).
    pub async fn update_collection(&self, request: knowledge::v1::UpdateCollectionRequest) -> Result<knowledge::v1::Collection, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/UpdateCollection", request.collection.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// DeleteCollection deletes a collection. With `force`, it also deletes the collection's documents, passages and vectors,
    /// in one transaction. The collection's owner and administrators may call this method.
    ///
    /// Errors: RESOURCE_NOT_FOUND, COLLECTION_NOT_EMPTY, ETAG_MISMATCH, ROLE_REQUIRED, SIGN_IN_REQUIRED (the collection belongs
    /// to another user, and the caller is an administrator whose session began more than ten minutes ago).
    pub async fn delete_collection(&self, request: knowledge::v1::DeleteCollectionRequest) -> Result<(), Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/DeleteCollection", false, &request).await
    }

    /// ListGenerations lists the generations of a collection, the newest first, on one page.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn list_generations(&self, request: knowledge::v1::ListGenerationsRequest) -> Result<knowledge::v1::ListGenerationsResponse, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/ListGenerations", true, &request).await
    }

    /// ReindexCollection builds another generation of a collection: it computes the vectors of all passages with another
    /// embedding model, while searches use the active generation. Documents may be added, changed and deleted meanwhile. When
    /// the new generation has the vectors of all passages, it becomes active in one transaction. If the operation fails or is
    /// cancelled, the active generation stays active, and the vectors of the new one are deleted. The collection's owner and
    /// administrators may call this method.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED, EMBEDDING_UNKNOWN, REINDEX_RUNNING, REQUEST_ID_REUSED, GENERATION_STATE (the
    /// collection has 8 generations), PART_UNAVAILABLE (the server could not get the length of the vectors from the embedding
    /// model), EMBEDDING_FAILED (the server could not get the length of the vectors from the embedding model).
    pub async fn reindex_collection(&self, mut request: knowledge::v1::ReindexCollectionRequest) -> Result<google::longrunning::Operation, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.knowledge.v1.KnowledgeService/ReindexCollection", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// ActivateGeneration makes a READY or RETIRED generation active. First, it computes the vectors of the passages that the
    /// generation lacks, while searches use the active generation. If the generation is already active, the call returns an
    /// operation that has ended. If the operation fails or is cancelled, the generation returns to its former state. The
    /// collection's owner and administrators may call this method.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED, EMBEDDING_UNKNOWN, REINDEX_RUNNING, REQUEST_ID_REUSED, GENERATION_STATE (the
    /// generation is FAILED).
    pub async fn activate_generation(&self, mut request: knowledge::v1::ActivateGenerationRequest) -> Result<google::longrunning::Operation, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.knowledge.v1.KnowledgeService/ActivateGeneration", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// DeleteGeneration deletes a generation with its vectors. The collection's owner and administrators may call this method.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ROLE_REQUIRED, GENERATION_STATE (the generation is ACTIVE or BUILDING).
    pub async fn delete_generation(&self, request: knowledge::v1::DeleteGenerationRequest) -> Result<(), Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/DeleteGeneration", false, &request).await
    }

    /// CreateDocument stores and indexes the request's text, at most 1 MiB. The operation and the errors are the same as for
    /// UploadDocument.
    pub async fn create_document(&self, mut request: knowledge::v1::CreateDocumentRequest) -> Result<google::longrunning::Operation, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.knowledge.v1.KnowledgeService/CreateDocument", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// GetDocument returns one document.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_document(&self, request: knowledge::v1::GetDocumentRequest) -> Result<knowledge::v1::Document, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/GetDocument", true, &request).await
    }

    /// ListDocuments lists a collection's documents, ordered by source_key by default. A file of which no version could be read
    /// is listed for the user who uploaded it alone.
    ///
    /// Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID, FILTER_INVALID, ORDER_BY_INVALID.
    pub async fn list_documents(&self, request: knowledge::v1::ListDocumentsRequest) -> Result<knowledge::v1::ListDocumentsResponse, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/ListDocuments", true, &request).await
    }

    /// UpdateDocument changes the fields that update_mask names (title, labels, metadata, subject). New labels, metadata and
    /// subjects apply at once. A new title makes a new version of the same bytes, because searches use the title too. The call
    /// returns the document with the new title in the state INDEXING. When the document is READY, searches and citations use
    /// the title. A later upload keeps the title unless the upload states a title. The document's uploader, the collection's
    /// owner and administrators may call this method. An administrator who may not read the document gets it without the fields
    /// that describe its content.
    ///
    /// Errors: RESOURCE_NOT_FOUND, UPDATE_MASK_INVALID, ETAG_MISMATCH, ROLE_REQUIRED, INVALID_FIELD, LIMIT_REACHED (stored
    /// bytes, for a new title).
    pub async fn update_document(&self, request: knowledge::v1::UpdateDocumentRequest) -> Result<knowledge::v1::Document, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/UpdateDocument", request.document.as_ref().is_none_or(|resource| resource.etag.is_empty()), &request).await
    }

    /// DeleteDocument deletes a document with all its versions, passages and vectors, in one transaction. No later answer uses
    /// the document. Earlier answers keep their quotes. The document's uploader, the collection's owner and administrators may
    /// call this method.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, ROLE_REQUIRED, SIGN_IN_REQUIRED (the document belongs to another user, and
    /// the caller is an administrator whose session began more than ten minutes ago).
    pub async fn delete_document(&self, request: knowledge::v1::DeleteDocumentRequest) -> Result<(), Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/DeleteDocument", false, &request).await
    }

    /// GetDocumentContent streams the canonical text of a document's current version, or of the version that the request names,
    /// from its beginning or from `read_offset`. The pieces arrive in order, have at most 64 KiB each, and begin and end at
    /// character boundaries. The ranges of citations are positions in this text. To read only a part, cancel the call when the
    /// part has arrived.
    ///
    /// Errors: RESOURCE_NOT_FOUND, READ_OFFSET_BEYOND_END.
    pub async fn get_document_content(&self, request: knowledge::v1::GetDocumentContentRequest) -> Result<Messages<knowledge::v1::GetDocumentContentResponse>, Error> {
        self.call_stream("/responsa.knowledge.v1.KnowledgeService/GetDocumentContent", &request).await
    }

    /// GetDocumentOriginal streams the bytes of a document as they were uploaded. The request may name a version. If the
    /// request names no version, the call returns the searchable version. If no version is searchable yet, the call returns the
    /// newest version. The pieces arrive in order and have at most 256 KiB each. Browsers and curl get the bytes themselves, as
    /// a download, from GET /v1/documents/{uuid}/original and GET /v1/documents/{uuid}/versions/{n}/original.
    ///
    /// Errors: RESOURCE_NOT_FOUND.
    pub async fn get_document_original(&self, request: knowledge::v1::GetDocumentOriginalRequest) -> Result<Messages<knowledge::v1::GetDocumentOriginalResponse>, Error> {
        self.call_stream("/responsa.knowledge.v1.KnowledgeService/GetDocumentOriginal", &request).await
    }

    /// GetDocumentPage returns one page of a PDF as an image. The server renders the page in its sandbox, so that no client has
    /// to open the PDF. Citation.boxes and Passage.boxes are positions on this image.
    ///
    /// Errors: RESOURCE_NOT_FOUND, PAGES_UNSUPPORTED (the document is not a PDF), PAGE_OUT_OF_RANGE, DOCUMENT_MALFORMED,
    /// DOCUMENT_PARSER_LIMIT (rendering the page needs too much memory or time), OVERLOADED, PART_UNAVAILABLE.
    pub async fn get_document_page(&self, request: knowledge::v1::GetDocumentPageRequest) -> Result<knowledge::v1::DocumentPage, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/GetDocumentPage", true, &request).await
    }

    /// ListDocumentVersions lists the stored versions of a document, the newest first. The server keeps a number of older
    /// versions (the setting ingestion.kept_versions) and every version that an answer cites.
    ///
    /// Errors: RESOURCE_NOT_FOUND, PAGE_TOKEN_INVALID.
    pub async fn list_document_versions(&self, request: knowledge::v1::ListDocumentVersionsRequest) -> Result<knowledge::v1::ListDocumentVersionsResponse, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/ListDocumentVersions", true, &request).await
    }

    /// RestoreDocumentVersion makes a new version from an older version's bytes and description. The present parser reads the
    /// text again. If the version is the newest one and searchable, nothing changes. The operation and the permissions are the
    /// same as for UploadDocument.
    ///
    /// Errors: RESOURCE_NOT_FOUND (also for a version that is being indexed), ETAG_MISMATCH, ROLE_REQUIRED, REQUEST_ID_REUSED,
    /// LIMIT_REACHED (stored bytes).
    pub async fn restore_document_version(&self, mut request: knowledge::v1::RestoreDocumentVersionRequest) -> Result<google::longrunning::Operation, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.knowledge.v1.KnowledgeService/RestoreDocumentVersion", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// ReindexDocument reads the original of the searchable version again with the present parser. If the parser makes another
    /// text, or is another version than the one that read it, or if another version of the rules cuts the text into passages,
    /// that becomes a new version; citations of the old version stay valid as for any older version. Otherwise, nothing
    /// changes. If a version is being indexed, the response is its running operation. The operation and the permissions are the
    /// same as for UploadDocument.
    ///
    /// Errors: RESOURCE_NOT_FOUND, ETAG_MISMATCH, ROLE_REQUIRED, REQUEST_ID_REUSED, ORIGINAL_NOT_STORED (no version of the
    /// document could be read).
    pub async fn reindex_document(&self, mut request: knowledge::v1::ReindexDocumentRequest) -> Result<google::longrunning::Operation, Error> {
        identify(&mut request.request_id);
        self.call("/responsa.knowledge.v1.KnowledgeService/ReindexDocument", true, &request).await.map_err(|error| error.asked(request.request_id))
    }

    /// WatchOperation streams the states of an operation until the operation has ended. Every stored change of an operation has
    /// a greater seq than the change before it. If the newest state has a seq greater than `after_seq`, this state is the first
    /// frame. Later frames have later states, each with a greater seq. States that follow each other quickly may be merged into
    /// the newest one. The final state (`done`) is never lost: it is the last frame, and then the stream ends. If `after_seq`
    /// is the seq of the final state, the caller already has this state, and the stream sends nothing. While there is no new
    /// state, the stream sends a heartbeat every 15 seconds (by default). A heartbeat is a frame without `operation`. A stream
    /// that ends without the final state was cut: continue with the seq of the last frame, on any server. The operation
    /// continues in any case. All members of the tenant may call this method. Over REST, each frame is a line of JSON (NDJSON).
    ///
    /// Errors: INVALID_FIELD, RESOURCE_NOT_FOUND, AFTER_SEQ_BEYOND_END, DRAINING.
    pub async fn watch_operation(&self, request: knowledge::v1::WatchOperationRequest) -> Result<Messages<knowledge::v1::WatchOperationResponse>, Error> {
        self.call_stream("/responsa.knowledge.v1.KnowledgeService/WatchOperation", &request).await
    }

    /// GetPassage returns one passage; with a turn of the caller, also what to show of it for that turn's question. A passage
    /// of an older version is kept as long as an answer cites it. A connected program needs the scope `ask` to name a turn, and
    /// `search` otherwise.
    ///
    /// Errors: RESOURCE_NOT_FOUND (also a turn that is not the caller's, and a passage that is none of its excerpts),
    /// SOURCE_CHANGED, SOURCE_DELETED (both only with a turn), SCOPE_REQUIRED, PART_UNAVAILABLE.
    pub async fn get_passage(&self, request: knowledge::v1::GetPassageRequest) -> Result<knowledge::v1::Passage, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/GetPassage", true, &request).await
    }

    /// GetSubjectProfile returns what Responsa holds about a person: the documents with this subject, by source and kind.
    /// Documents that the caller may not read are left out. The subject, administrators and SERVICE keys may make this call.
    ///
    /// Errors: RESOURCE_NOT_FOUND (no user and no document has this subject, or the caller may not ask about it).
    pub async fn get_subject_profile(&self, request: knowledge::v1::GetSubjectProfileRequest) -> Result<knowledge::v1::SubjectProfile, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/GetSubjectProfile", true, &request).await
    }

    /// ListFormats lists the document formats that the server reads, on one page and always in the same order. UploadDocument
    /// and CreateDocument refuse a document of any other format with DOCUMENT_TYPE_UNSUPPORTED.
    pub async fn list_formats(&self, request: knowledge::v1::ListFormatsRequest) -> Result<knowledge::v1::ListFormatsResponse, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/ListFormats", true, &request).await
    }

    /// Search returns the passages that match the terms best. The best passage comes first.
    ///
    /// Errors: INVALID_FIELD, RESOURCE_NOT_FOUND (a collection of the scope), LIMIT_REACHED (the user has too many searches at
    /// a time), OVERLOADED, PART_UNAVAILABLE.
    pub async fn search(&self, request: knowledge::v1::SearchRequest) -> Result<knowledge::v1::SearchResponse, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/Search", true, &request).await
    }

    /// BatchSearch makes 1 to 64 searches in one call. The responses are in the order of the requests, and each is what Search
    /// would return. If one of the searches fails, the call fails and returns nothing. All searches together may ask for at
    /// most 640 passages.
    ///
    /// Errors: INVALID_FIELD, RESOURCE_NOT_FOUND (a collection of a scope), LIMIT_REACHED (the user has too many searches at a
    /// time), OVERLOADED, PART_UNAVAILABLE.
    pub async fn batch_search(&self, request: knowledge::v1::BatchSearchRequest) -> Result<knowledge::v1::BatchSearchResponse, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/BatchSearch", true, &request).await
    }

    /// EmbedTexts computes the vectors of texts with one of the installation's embedding models. Nothing is stored. A text that
    /// is longer than the model reads is cut.
    ///
    /// Errors: INVALID_FIELD, EMBEDDING_UNKNOWN, EMBEDDING_FAILED, RATE_LIMIT (tokens in a minute), LIMIT_REACHED (the user has
    /// too many of these calls at a time), OVERLOADED, PART_UNAVAILABLE.
    pub async fn embed_texts(&self, request: knowledge::v1::EmbedTextsRequest) -> Result<knowledge::v1::EmbedTextsResponse, Error> {
        self.call("/responsa.knowledge.v1.KnowledgeService/EmbedTexts", true, &request).await
    }
}
