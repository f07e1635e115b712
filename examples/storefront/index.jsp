<%@ page contentType="text/plain" %>storefront <%= new String(application.getResourceAsStream("/WEB-INF/VERSION").readAllBytes()).strip() %>
