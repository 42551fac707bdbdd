"""Django's settings: values only, all of them from the environment (see `environment.py`)."""

import hashlib
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP

from chiffon_site.environment import BASE_DIR, REDIS, WrongEnvironment, read_environment

try:
    ENVIRONMENT = read_environment()
except WrongEnvironment as error:
    raise ImproperlyConfigured(str(error)) from None
if not ENVIRONMENT.database_url or not ENVIRONMENT.redis_url:
    _missing = "REDIS_URL" if ENVIRONMENT.database_url else "DATABASE_URL"
    raise ImproperlyConfigured(
        f"{_missing} is not set and {ENVIRONMENT.data_dir} holds no installation: run chiffon up first, or set it to the address of "
        "your server, such as postgres://user:password@127.0.0.1:5432/chiffon and redis://127.0.0.1:6379/0."
    )

# --- What Chiffon itself reads --------------------------------------------------------------------------------------------------
CHIFFON_DATA_DIR = ENVIRONMENT.data_dir
CHIFFON_PROCESS = ENVIRONMENT.process
CHIFFON_PUBLIC_URL = ENVIRONMENT.public_url
CHIFFON_PLAYBOOK_REPO = ENVIRONMENT.playbook_repo
CHIFFON_DIAGNOSTICS = ENVIRONMENT.diagnostics
CHIFFON_AUDIT_DIR = ENVIRONMENT.data_dir / "audit"
CHIFFON_SANDBOX = ENVIRONMENT.data_dir / "sandbox"
CHIFFON_REDIS_URL = ENVIRONMENT.redis_url
# Marks the processes of this installation's steps, so that two installations on one machine never sweep each other's.
CHIFFON_INSTALLATION = hashlib.sha256(ENVIRONMENT.database_url.rpartition("@")[2].encode()).hexdigest()[:8]

# --- Django ---------------------------------------------------------------------------------------------------------------------
DEBUG = ENVIRONMENT.debug
SECRET_KEY = ENVIRONMENT.secret_key
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
CSRF_TRUSTED_ORIGINS = [ENVIRONMENT.public_url]

INSTALLED_APPS = [
    "daphne",  # first: it takes over runserver
    "chiffon_site.apps.ChiffonAdminConfig",  # django.contrib.admin with our site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "channels",
    "django_htmx",
    "ninja",  # for the files of the API's documentation page
    "pgtrigger",
    "allauth",
    "allauth.account",
    "chiffon_site.accounts",
    "chiffon_site",
    "plans",
    "agents",
    "audit",
]
MIDDLEWARE = [
    "chiffon_site.observability.middleware.TraceMiddleware",  # first: whatever is logged below it has a trace
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "chiffon_site.error_pages.ErrorPages",
]
CSRF_FAILURE_VIEW = "chiffon_site.error_pages.csrf_failure"
ROOT_URLCONF = "chiffon_site.urls"
ASGI_APPLICATION = "chiffon_site.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
TIME_ZONE = "UTC"
USE_TZ = True
LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = "chiffon_site.formats"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

# --- Static files: served by whitenoise straight from the source folders; nothing is built or collected ------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 0 if DEBUG else 300

# --- Database: PostgreSQL only ------------------------------------------------------------------------------------------------------
# A page may hold a connection for seconds only, a worker for a minute; a command (a migration, a verification) as long as it takes.
_STATEMENT_TIMEOUT = {"web": "5s", "command": "0"}.get(CHIFFON_PROCESS, "60s")
_IDLE_TIMEOUT = "0" if CHIFFON_PROCESS == "command" else "10s"


def _database(url: str) -> dict[str, Any]:
    config: dict[str, Any] = dict(environ.Env.db_url_config(url))
    options = dict(config.get("OPTIONS", {}))
    options |= {
        "connect_timeout": 5,
        "application_name": f"chiffon-{CHIFFON_PROCESS}",
        "prepare_threshold": 5,  # Django's own is None, with which psycopg prepares nothing, asked to or not
        "options": f"-c statement_timeout={_STATEMENT_TIMEOUT} -c lock_timeout=2s "
        f"-c idle_in_transaction_session_timeout={_IDLE_TIMEOUT} -c TimeZone=UTC",
    }
    if CHIFFON_PROCESS == "web":
        # Elsewhere Celery closes the pool after every task; here it keeps a rush of readers from exhausting the server.
        options["pool"] = {"min_size": 1, "max_size": ENVIRONMENT.pool_size, "timeout": 2}
    # A worker keeps its connection from one step to the next: making one costs more than most statements.
    age = None if CHIFFON_PROCESS in {"agent", "worker", "dispatcher"} else 0
    return config | {
        "CONN_MAX_AGE": age,
        "CONN_HEALTH_CHECKS": age is None,
        "ATOMIC_REQUESTS": False,
        "OPTIONS": options,
    }


DATABASES = {"default": _database(ENVIRONMENT.database_url)}

# --- Redis or Valkey: doorbells and cache, never the truth ----------------------------------------------------------------------------
CACHES = {
    "default": {
        "BACKEND": "chiffon_site.cache.RedisOrMemory",
        "LOCATION": ENVIRONMENT.redis_url,
        "KEY_PREFIX": "chiffon",
        # The client's own retries would make somebody who signs in wait for each of them.
        "OPTIONS": {"socket_timeout": 0.25, "socket_connect_timeout": 0.25, "retry": None},
    },
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # Longer than any wait inside the layer: the client's own default of five seconds ends every quiet socket.
        "CONFIG": {"hosts": [{"address": ENVIRONMENT.redis_url, "socket_timeout": 30}], "prefix": "chiffon"},
    },
}

# --- Celery: early acknowledgement, no results; the database decides what a message means ---------------------------------------------
_BROKER_IS_REDIS = ENVIRONMENT.broker_url.split(":", 1)[0] in REDIS
CELERY_BROKER_URL = ENVIRONMENT.broker_url
CELERY_BROKER_TRANSPORT = "chiffon_site.broker:Transport" if _BROKER_IS_REDIS else None
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_CREATE_MISSING_QUEUES = False  # a queue made by a typo would swallow work
CELERY_TASK_ANNOTATIONS = {
    "*": {"Request": "agents.messages:Request"}
}  # of a message no more is obeyed than it says there
CELERY_TASK_DEFAULT_QUEUE = "chiffon.jobs"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = _BROKER_IS_REDIS
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"socket_timeout": 5, "socket_connect_timeout": 3, "socket_keepalive": True, "health_check_interval": 25}
    if _BROKER_IS_REDIS
    else {}
)
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}
CELERY_TIMEZONE = "UTC"

# --- Signing in -------------------------------------------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
# Django's first choice takes 0.7 s on a small machine, where scrypt, which costs an attacker memory as well, takes 0.3. What an earlier
# version kept opens the door once more and is then kept anew.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "chiffon_site.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = False

# --- Browser ----------------------------------------------------------------------------------------------------------------------
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "manifest-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENVIRONMENT.is_https
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_NAME = "chiffon_session"
CSRF_COOKIE_NAME = "chiffon_csrf"
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if ENVIRONMENT.is_https else 0
if ENVIRONMENT.trust_proxy:
    # Only on request: anyone could send these headers to a server that no proxy stands before.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# How many addresses at the end of X-Forwarded-For are believed: else everybody has the proxy's, and one locks all others out.
ALLAUTH_TRUSTED_PROXY_COUNT = int(ENVIRONMENT.trust_proxy)
SECURE_SSL_REDIRECT = ENVIRONMENT.is_https and ENVIRONMENT.trust_proxy
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
# Other names under the same domain are not ours to pin.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# --- Mail and language models -----------------------------------------------------------------------------------------------------
DEFAULT_FROM_EMAIL = ENVIRONMENT.from_email


def _mailer(url: str) -> dict[str, Any]:
    if not url:
        return {"BACKEND": "django.core.mail.backends.console.EmailBackend"}
    parts = environ.Env.email_url_config(url)
    return {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": parts["EMAIL_HOST"],
            "port": parts["EMAIL_PORT"] or 25,
            "username": parts["EMAIL_HOST_USER"],
            "password": parts["EMAIL_HOST_PASSWORD"],
            "use_tls": bool(parts.get("EMAIL_USE_TLS")),
            "use_ssl": bool(parts.get("EMAIL_USE_SSL")),
            "timeout": 10,
        },
    }


MAILERS = {"default": _mailer(ENVIRONMENT.email_url)}
CHIFFON_LLM_BASE_URL = ENVIRONMENT.llm_base_url
CHIFFON_LLM_API_KEY = ENVIRONMENT.llm_api_key
CHIFFON_LLM_MODEL = ENVIRONMENT.llm_model
CHIFFON_LLM_LOCAL_BASE_URL = ENVIRONMENT.llm_local_base_url
CHIFFON_LLM_LOCAL_MODEL = ENVIRONMENT.llm_local_model
CHIFFON_OTEL_ENDPOINT = ENVIRONMENT.otel_endpoint

# --- Logs -------------------------------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "chiffon_site.observability.logs.line_formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": ENVIRONMENT.log_level},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        # One line for every request would drown what matters.
        "daphne": {"level": "WARNING"},
        "django.channels.server": {"level": "WARNING"},
    },
}
