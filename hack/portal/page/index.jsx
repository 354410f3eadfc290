// Backstage's own form for orders, on a page of its own: the scaffolder's pages, and of
// the catalog what they link to. The server of this page knows who it talks to, so there
// is no sign-in here.
import React from 'react';
import { createRoot } from 'react-dom/client';
import { Navigate, Route } from 'react-router-dom';
import { createApp } from '@backstage/app-defaults';
import { AppRouter, FlatRoutes } from '@backstage/core-app-api';
import { AlertDisplay, OAuthRequestDialog } from '@backstage/core-components';
import { configApiRef, createApiFactory, discoveryApiRef, fetchApiRef } from '@backstage/core-plugin-api';
import { CatalogClient } from '@backstage/catalog-client';
import { ScmAuth, ScmIntegrationsApi, scmIntegrationsApiRef } from '@backstage/integration-react';
import { catalogApiRef, entityPresentationApiRef, MockStarredEntitiesApi, starredEntitiesApiRef } from '@backstage/plugin-catalog-react';
import { CatalogEntityPage, CatalogIndexPage, catalogPlugin, DefaultEntityPresentationApi } from '@backstage/plugin-catalog';
import { ScaffolderPage, scaffolderPlugin } from '@backstage/plugin-scaffolder';

const app = createApp({
  configLoader: async () => [{ context: 'page', data: { app: { title: 'Agents', baseUrl: location.origin }, backend: { baseUrl: location.origin }, organization: { name: 'whisperops' } } }],
  apis: [
    createApiFactory({ api: catalogApiRef, deps: { discoveryApi: discoveryApiRef, fetchApi: fetchApiRef }, factory: deps => new CatalogClient(deps) }),
    createApiFactory({ api: scmIntegrationsApiRef, deps: { configApi: configApiRef }, factory: ({ configApi }) => ScmIntegrationsApi.fromConfig(configApi) }),
    createApiFactory({ api: entityPresentationApiRef, deps: { catalogApi: catalogApiRef }, factory: ({ catalogApi }) => DefaultEntityPresentationApi.create({ catalogApi }) }),
    ScmAuth.createDefaultApiFactory(),
  ],
  bindRoutes({ bind }) {
    bind(catalogPlugin.externalRoutes, { createComponent: scaffolderPlugin.routes.root });
  },
});

const Root = app.createRoot(
  <>
    <AlertDisplay />
    <OAuthRequestDialog />
    <AppRouter>
      <FlatRoutes>
        <Route path="/" element={<Navigate to="create" />} />
        <Route path="/create" element={<ScaffolderPage />} />
        <Route path="/catalog" element={<CatalogIndexPage />} />
        <Route path="/catalog/:namespace/:kind/:name" element={<CatalogEntityPage />} />
      </FlatRoutes>
    </AppRouter>
  </>,
);
createRoot(document.getElementById('root')).render(<Root />);
