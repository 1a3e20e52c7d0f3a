output "service_account" {
  description = "Email of the account"
  value       = google_service_account.contratos.email
}

output "settings" {
  description = "What goes into postgresql.conf besides the credentials"
  value       = "contratos.project = '${var.project_id}'"
}

output "gke_annotation" {
  description = "Annotation of the Kubernetes service account on GKE; then contratos.credentials_file is 'metadata'"
  value       = var.gke_service_account == null ? null : "iam.gke.io/gcp-service-account=${google_service_account.contratos.email}"
}

output "credentials_file" {
  description = "Content of contratos.credentials_file with workload identity federation; it holds no secret"
  value = local.federated ? jsonencode({
    type                              = "external_account"
    audience                          = "//iam.googleapis.com/${google_iam_workload_identity_pool_provider.oidc[0].name}"
    subject_token_type                = "urn:ietf:params:oauth:token-type:jwt"
    token_url                         = "https://sts.googleapis.com/v1/token"
    service_account_impersonation_url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${google_service_account.contratos.email}:generateAccessToken"
    credential_source                 = { file = var.oidc_token_file }
  }) : null
}
