"""Google's client, and the day's parameters in its words."""
import os

from google.cloud import bigquery
from google.oauth2 import service_account

from query import window


def client():
    credentials = service_account.Credentials.from_service_account_file(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
    return bigquery.Client(project=credentials.project_id, credentials=credentials, location="US",
                           client_options={"api_endpoint": os.environ["BIGQUERY_ENDPOINT"]})


def parameters(day):
    return bigquery.QueryJobConfig(query_parameters=[
        bigquery.ScalarQueryParameter(name, "TIMESTAMP", value) for name, value in window(day).items()])
