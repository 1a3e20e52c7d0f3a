# The account that contratos reads BigQuery as. No key is made: a key would be
# stored in the state.

locals {
  federated = var.oidc_issuer_uri != null
  budgeted  = var.billing_account != null

  apis = concat(
    ["bigquery.googleapis.com"],
    local.federated ? ["iamcredentials.googleapis.com", "sts.googleapis.com"] : [],
    local.budgeted ? ["billingbudgets.googleapis.com"] : [],
  )
}

resource "google_project_service" "api" {
  for_each = toset(var.enable_apis ? local.apis : [])

  project            = var.project_id
  service            = each.value
  disable_on_destroy = false
}

resource "google_service_account" "contratos" {
  project      = var.project_id
  account_id   = var.account_id
  display_name = "contratos"
  description  = "Reads BigQuery tables for the PostgreSQL extension contratos"
}

# To run queries that this project pays for. Public datasets need nothing else.
resource "google_project_iam_member" "job_user" {
  project = var.project_id
  role    = "roles/bigquery.jobUser"
  member  = google_service_account.contratos.member
}

# To read datasets that are not public, each on its own and not the project.
resource "google_bigquery_dataset_iam_member" "reader" {
  for_each = { for d in var.private_datasets : "${d.project}.${d.dataset}" => d }

  project    = each.value.project
  dataset_id = each.value.dataset
  role       = "roles/bigquery.dataViewer"
  member     = google_service_account.contratos.member
}

# ---- without a key, on GKE: pods of this Kubernetes service account are the account

resource "google_service_account_iam_member" "gke" {
  count = var.gke_service_account == null ? 0 : 1

  service_account_id = google_service_account.contratos.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${coalesce(var.gke_project_id, var.project_id)}.svc.id.goog[${var.gke_service_account}]"
}

# ---- without a key, elsewhere: whom an OpenID Connect provider vouches for

resource "google_iam_workload_identity_pool" "contratos" {
  count = local.federated ? 1 : 0

  project                   = var.project_id
  workload_identity_pool_id = var.pool_id
  display_name              = "contratos"
  description               = "Database servers that run contratos"
}

resource "google_iam_workload_identity_pool_provider" "oidc" {
  count = local.federated ? 1 : 0

  project                            = var.project_id
  workload_identity_pool_id          = google_iam_workload_identity_pool.contratos[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "oidc"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  attribute_condition                = "assertion.sub == '${var.oidc_subject}'"

  oidc {
    issuer_uri        = var.oidc_issuer_uri
    allowed_audiences = var.oidc_audiences
    jwks_json         = var.oidc_jwks_json
  }

  lifecycle {
    precondition {
      condition     = var.oidc_subject != ""
      error_message = "oidc_subject says whom the issuer may vouch for: without it nobody is let in."
    }
  }
}

resource "google_service_account_iam_member" "federated" {
  count = local.federated ? 1 : 0

  service_account_id = google_service_account.contratos.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.contratos[0].name}/subject/${var.oidc_subject}"
}

# ---- mail when BigQuery costs more than expected; it stops nothing, unlike contratos.max_bytes_per_day

data "google_project" "billed" {
  count = local.budgeted ? 1 : 0

  project_id = var.project_id
}

resource "google_billing_budget" "bigquery" {
  count = local.budgeted ? 1 : 0

  billing_account = var.billing_account
  display_name    = "contratos: BigQuery in ${var.project_id}"

  budget_filter {
    projects        = ["projects/${data.google_project.billed[0].number}"]
    services        = ["services/24E6-581D-38E5"] # BigQuery
    calendar_period = "MONTH"
  }

  amount {
    specified_amount {
      currency_code = var.budget_currency
      units         = tostring(var.budget_units)
    }
  }

  threshold_rules {
    threshold_percent = 0.5
  }

  threshold_rules {
    threshold_percent = 1.0
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  dynamic "all_updates_rule" {
    for_each = length(var.budget_channels) > 0 ? [var.budget_channels] : []

    content {
      monitoring_notification_channels = all_updates_rule.value
    }
  }
}
