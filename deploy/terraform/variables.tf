variable "project_id" {
  description = "Project that is billed for the queries, and that the account belongs to"
  type        = string
}

variable "account_id" {
  description = "Name of the service account, before the @"
  type        = string
  default     = "contratos"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.account_id))
    error_message = "6 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "enable_apis" {
  description = "Whether the APIs that are needed are enabled, too"
  type        = bool
  default     = true
}

variable "private_datasets" {
  description = "Datasets that are not public and that the account may read"
  type        = list(object({ project = string, dataset = string }))
  default     = []
}

variable "gke_service_account" {
  description = "Kubernetes service account of the pods on GKE, as namespace/name; null: none"
  type        = string
  default     = null

  validation {
    condition     = var.gke_service_account == null || can(regex("^[a-z0-9-]+/[a-z0-9.-]+$", var.gke_service_account))
    error_message = "The form is namespace/name."
  }
}

variable "gke_project_id" {
  description = "Project of the GKE cluster; null: project_id"
  type        = string
  default     = null
}

variable "oidc_issuer_uri" {
  description = "Issuer of OpenID Connect tokens, for workload identity federation; null: none"
  type        = string
  default     = null
}

variable "oidc_subject" {
  description = "The one subject that is let in, such as system:serviceaccount:NAMESPACE:NAME"
  type        = string
  default     = ""

  validation {
    condition     = !strcontains(var.oidc_subject, "'")
    error_message = "It becomes a part of a condition, and cannot have quotes."
  }
}

variable "oidc_audiences" {
  description = "Audiences that the tokens may have; empty: the provider's own name"
  type        = list(string)
  default     = []
}

variable "oidc_jwks_json" {
  description = "The issuer's public keys, where Google cannot fetch them; null: it can"
  type        = string
  default     = null
}

variable "oidc_token_file" {
  description = "File with the token on the database server"
  type        = string
  default     = "/var/run/secrets/tokens/gcp"
}

variable "pool_id" {
  description = "Name of the workload identity pool; a name that was deleted stays taken for 30 days"
  type        = string
  default     = "contratos"
}

variable "billing_account" {
  description = "Billing account of the budget, as 012345-567890-ABCDEF; null: no budget"
  type        = string
  default     = null
}

variable "budget_units" {
  description = "The budget: BigQuery in this project, in a month"
  type        = number
  default     = 10
}

variable "budget_currency" {
  description = "Its currency; null: that of the billing account, which it must be anyway"
  type        = string
  default     = null
}

variable "budget_channels" {
  description = "Names of monitoring notification channels, besides the billing administrators; 5 at most"
  type        = list(string)
  default     = []
}
